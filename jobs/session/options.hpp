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

/// Headings of these options in the help.
inline const char* const common_group = "Options of every subcommand";
inline const char* const computing_group = "Options of subcommands that compute";

/// What every subcommand takes, and what those take that compute.
struct CommonOptions {
  std::string device = "auto";
  std::string dtype = "stored";
  std::string products = "fast";
  int threads = 0;  ///< 0: this rank's share of the cores it may use
  double deadline = 600;
  std::string report;
  bool quiet = false;

  /// Adds --deadline, --report and --quiet, and of the options of computing those that mean something to the
  /// subcommand.
  void add_to(CLI::App& app,
              const std::vector<std::string>& computing = {"--device", "--dtype", "--products", "--threads"});
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

/// Whether an option is one of CommonOptions.
bool is_common(const CLI::Option& option);

/// The words that an option takes; empty where any value goes.
std::vector<std::string> choices_of(const CLI::Option& option);

/// Every option of a subcommand with its value after defaults, numbers and flags as such, however they were typed.
nlohmann::json describe_options(const CLI::App& app);

}  // namespace hack::jobs
