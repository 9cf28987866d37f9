#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.hpp"
#include "model/calibration/layerwise_fit.hpp"
#include "model/calibration/token_windows.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace hack::jobs {

/// The options that fit factors to a text.
struct CalibrationOptions {
  std::string method = "feedback";
  std::vector<std::string> texts;
  long windows = 32;
  long context = 1024;
  int sweeps = 3;
  bool no_refit = false;
  double damping = 0.01;
  double token_power = 0;
  std::string inputs = "compressed";
  std::optional<double> target_share;
  std::string allocation = "loss";
  long allocation_windows = 16;
  long allocation_tokens = 512;
  double floor = 0.9;
  long align = 1;
  int refine = 0;
  double refine_rate = 5e-4;
  long refine_batch = 1024;
  std::string refine_products = "bf16";
  long seed = 0;
  index_t random_ids = 0;  ///< above 0: random ids below this stand for texts, of a model that has no tokenizer

  void add_to(CLI::App& app);
  bool is_plain() const { return method == "plain"; }

  /// An Error, naming the option, where options contradict each other or a text is missing.
  void check() const;

  /// Fills in what the method says of quantized tiles, or of low rank.
  void apply_to(model::LayerwiseOptions& options, bool quantized) const;

  /// Reads the texts and encodes them one after the other, or draws random ids; on every rank. An Error, naming the
  /// file, where one cannot be read, is not UTF-8, or all are shorter than one window.
  std::vector<int> read_tokens(const comm::Communicator& world, const model::Checkpoint& checkpoint) const;

  /// The share of earlier errors that a matrix of quantized tiles, or of low rank, is to make up for (measurements:
  /// docs/design-notes/quality.md).
  double share_of_targets(bool quantized) const { return target_share.value_or(quantized ? 0.25 : 0.5); }

  /// What decides the numbers in an archive, a budget's shares among it where there is a budget.
  nlohmann::json describe(bool has_budget, bool quantized) const;

 private:
  void add_fit_to(CLI::App& app);
  void add_allocation_to(CLI::App& app);
  void add_refinement_to(CLI::App& app);
};

}  // namespace hack::jobs
