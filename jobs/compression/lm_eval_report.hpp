#pragma once

#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace hack::jobs {

/// A task's figures under lm-evaluation-harness's names, and how many items they are of.
struct LmEvalTask {
  std::string name;
  nlohmann::json metrics;           ///< name: value; those without an error of their own get "N/A"
  nlohmann::json higher_is_better;  ///< name: true or false
  long items = 0;                   ///< scored
  long original_items = 0;
};

/// --lm-eval-report: the file that readers of lm-evaluation-harness's results take.
class LmEvalReport {
 public:
  void add_to(CLI::App& app);
  bool is_wanted() const { return !path_.empty(); }
  /// An Error, naming the option, where the file could not be written.
  void check() const;

  /// {"results": {TASK: {"alias", "METRIC,none", "METRIC_stderr,none", …}}, "n-samples", "n-shot", "higher_is_better",
  /// "config", …} in one piece. `config` says of what model they are.
  void write(const std::vector<LmEvalTask>& tasks, const nlohmann::json& config) const;

 private:
  std::string path_;
};

/// Of which model figures are, for LmEvalReport::write(). `archive` may be empty.
nlohmann::json lm_eval_config(const std::string& model, const std::string& archive, const nlohmann::json& dtype);

/// lm-evaluation-harness's name of a file's task: the file's, without folder and ending.
std::string task_of(const std::string& path);

}  // namespace hack::jobs
