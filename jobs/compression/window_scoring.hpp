#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "comm/process_grid.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/session/session.hpp"
#include "model/evaluate/loss_records.hpp"
#include "model/evaluate/perplexity.hpp"

namespace hack::jobs {

/// Options of commands that share windows out over a grid of ranks.
struct ScoringOptions {
  std::vector<std::string> records;
  int tensor_parallel = 0;

  /// Adds --records and --tensor-parallel; `unit` names what is shared out.
  void add_to(CLI::App& app, const std::string& unit);
  /// The grid of a run. Collective.
  comm::ProcessGrid grid(const Session& session) const;
};

/// What is scored, and by which ranks. Outlives whoever works on it.
struct ScoringTask {
  const ModelFiles& files;
  const std::vector<int>& ids;
  const model::WindowPlan& plan;
  const comm::ProcessGrid& grid;
  model::HeldType type;
};

/// Scores the windows of a task, but for those that are in --records.
class WindowScoring {
 public:
  /// `numbers`: those that are kept of a token.
  WindowScoring(Session& session, const ScoringTask& task, index_t numbers = 1);

  /// Reads --records on rank 0, and appends to the first of them from then on. `key`: what the numbers depend on beside
  /// the task. An Error where a file is another run's. Collective.
  void open_records(const std::vector<std::string>& paths, nlohmann::json key);

  /// Runs the model; what is kept of each window, on rank 0. `on_window` hears of windows that were computed, before
  /// they are recorded. Collective.
  template <Device D>
  model::WindowLosses run(const model::ScoreTokens<D>& score, const model::OnWindow& on_window = {});

  // Of rank 0. The last two are 0 where all windows were in the records.
  index_t known_windows() const { return known_windows_; }
  index_t bytes_held() const { return bytes_held_; }
  double seconds() const { return seconds_; }

  /// What progress is called.
  std::string label = "perplexity", unit = "windows";

 private:
  Session& session_;
  ScoringTask task_;
  index_t numbers_;
  std::optional<model::LossRecords> records_;
  model::WindowLosses known_;
  index_t known_windows_ = 0;
  index_t bytes_held_ = 0;
  double seconds_ = 0;
};

/// The options of a run that its numbers depend on: all but those named, and those that only choose places or speed.
/// For the archive its digest stands.
nlohmann::json key_of(const CLI::App& app, const std::vector<std::string>& without);

/// Says that --context is longer than what a model was made for, where it is.
void warn_of_context(const Session& session, index_t context, index_t trained);

/// Tokens that go through the model, scored or not.
index_t tokens_of(const model::WindowPlan& plan);

}  // namespace hack::jobs
