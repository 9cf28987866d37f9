#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "model/evaluate/perplexity.hpp"

namespace hack::model {

/// Losses of finished windows in a file of lines, for the run that goes on after this one and for the one that puts
/// slices together. Lines are only added:
///
///     hack-losses 1 {"dtype":"bf16", …}                  what the losses depend on
///     12 24576 26624 <digest> <losses, 8 hex digits each>   window 12 of the text, its tokens, its scored losses
///
/// A line that was not written to its end, or was changed, does not count. Used by one rank.
class LossRecords {
 public:
  /// `run`: an object with whatever the losses depend on. An Error where the file is another run's, naming what
  /// differs.
  LossRecords(std::filesystem::path path, const nlohmann::json& run);

  /// Puts the losses of the plan's windows that are in the file into `losses` (one entry a window), where there are
  /// none yet. The file need not exist.
  void read(const WindowPlan& plan, WindowLosses& losses) const;

  /// Adds a window of the plan; it outlives this process on return, and within a second the machine. The file is made
  /// with the first.
  void append(const WindowPlan& plan, index_t window, std::span<const float> losses);

 private:
  std::string line_of(index_t number, const Window& window, std::span<const float> losses) const;
  void check_header(const std::string& line, const nlohmann::json& run) const;

  std::filesystem::path path_;
  std::string header_;
  std::chrono::steady_clock::time_point flushed_{};
};

}  // namespace hack::model
