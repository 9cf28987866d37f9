#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "kernels/device.hpp"
#include "kernels/dtype.hpp"
#include "kernels/error.hpp"
#include "kernels/queue.hpp"

namespace hack::jobs {

/// Heading of these options in the help.
inline const char* const common_group = "Options of every subcommand";

/// What every subcommand takes.
struct CommonOptions {
  std::string device = "auto";
  std::string dtype = "stored";
  std::string products = "fast";
  int threads = 0;  ///< 0: this rank's share of the cores it may use
  double deadline = 600;
  std::string report;
  bool quiet = false;

  void add_to(CLI::App& app);
  /// The device to use. Throws where it was asked for by name and is not there.
  Device chosen_device() const;
  Products chosen_products() const { return products == "exact" ? Products::exact : Products::fast; }
  /// What --dtype says; nothing: as stored.
  std::optional<DType> held_type() const {
    return dtype == "stored" ? std::nullopt : std::optional(parse_dtype(dtype));
  }
  /// One type for all weights; where they are to stay as stored, `exact`.
  DType chosen_dtype(DType exact) const { return held_type().value_or(exact); }
};

/// Returns what work() returns. An Error that it throws gets `option` in front, the option with its value that asked
/// for what is wrong: libraries say that in their own terms, only the command line knows where it came from.
template <class Work>
auto for_option(const std::string& option, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    fail("{}: {}", option, error.what());
  }
}

/// All options of a subcommand, those of its groups too.
std::vector<const CLI::Option*> options_of(const CLI::App& app);

/// Every option of a subcommand with its value after defaults, numbers and flags as such, however they were typed.
nlohmann::json describe_options(const CLI::App& app);

}  // namespace hack::jobs
