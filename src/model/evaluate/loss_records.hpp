#pragma once

#include <filesystem>
#include <span>

#include <nlohmann/json_fwd.hpp>

#include "io/record_file.hpp"
#include "model/evaluate/perplexity.hpp"

namespace hack::model {

/// Losses of finished windows in a RecordFile, for the run that goes on after this one and for the one that puts slices
/// together. A record is named by the window's number in the text; it holds where the window begins, ends and is
/// scored, and the losses, or whatever numbers are kept of each token. Used by one rank.
class LossRecords {
 public:
  /// `run`: an object with whatever the losses depend on; `numbers`: those kept of a token. An Error where the file is
  /// another run's, naming what differs.
  LossRecords(std::filesystem::path path, const nlohmann::json& run, index_t numbers = 1);

  /// Puts the losses of the plan's windows that are in the file into `losses` (one entry a window), where there are
  /// none yet. The file need not exist. Records that were changed do not count; an Error where a loss is not finite.
  void read(const WindowPlan& plan, WindowLosses& losses) const;

  /// Adds a window of the plan; it outlives this process on return, and within a second the machine. The file is made
  /// with the first.
  void append(const WindowPlan& plan, index_t window, std::span<const float> losses);

 private:
  io::RecordFile file_;
  index_t numbers_;
};

}  // namespace hack::model
