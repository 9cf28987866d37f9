#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "comm/communicator.hpp"
#include "model/calibration/layerwise_compression.hpp"
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
  std::string inputs = "compressed";
  double target_share = 0.5;
  std::string allocation = "loss";
  long allocation_windows = 16;
  long allocation_tokens = 512;
  double floor = 0.5;
  long align = 1;
  int refine = 0;
  double refine_rate = 5e-4;
  long refine_batch = 1024;
  long seed = 0;

  void add_to(CLI::App& app);
  bool is_plain() const { return method == "plain"; }

  /// Fills in what the method says. An Error where a text is missing, or given with --method plain.
  void apply_to(model::LayerwiseOptions& options) const;

  /// Cuts the texts into windows, the first at `first`; on every rank. An Error where the texts are too short.
  model::TokenWindows read_windows(const comm::Communicator& world, const model::Checkpoint& checkpoint, long first,
                                   long count) const;

  /// What decides the numbers in an archive.
  nlohmann::json describe() const;
};

}  // namespace hack::jobs
