#include "jobs/compression/lm_eval_report.hpp"

#include <chrono>
#include <filesystem>

#include "io/replace_file.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/options.hpp"
#include "kernels/config.hpp"

namespace hack::jobs {

void LmEvalReport::add_to(CLI::App& app) {
  app.add_option("--lm-eval-report", path_,
                 "Write the figures as lm-evaluation-harness writes its results, for programs that read those")
      ->type_name(output_type);
}

void LmEvalReport::check() const {
  if (is_wanted()) for_option("--lm-eval-report", [&] { io::check_replaceable(path_); });
}

void LmEvalReport::write(const std::vector<LmEvalTask>& tasks, const nlohmann::json& config) const {
  if (!is_wanted()) return;
  nlohmann::json out = {{"results", nlohmann::json::object()}, {"group_subtasks", nlohmann::json::object()}};
  for (const LmEvalTask& task : tasks) {
    nlohmann::json& results = out["results"][task.name];
    results["alias"] = task.name;
    for (const auto& [metric, value] : task.metrics.items()) {
      if (metric.ends_with("_stderr")) continue;
      results[metric + ",none"] = value;
      results[metric + "_stderr,none"] = task.metrics.value(metric + "_stderr", nlohmann::json("N/A"));
    }
    out["group_subtasks"][task.name] = nlohmann::json::array();
    out["configs"][task.name] = {{"task", task.name}, {"num_fewshot", 0}};
    out["versions"][task.name] = 1;
    out["n-shot"][task.name] = 0;
    out["higher_is_better"][task.name] = task.higher_is_better;
    out["n-samples"][task.name] = {{"original", task.original_items}, {"effective", task.items}};
  }
  out["config"] = config;
  out["date"] = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  out["hack_version"] = HACK_VERSION;
  const std::string text = out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for_option("--lm-eval-report", [&] { io::replace_file(path_, text); });
}

nlohmann::json lm_eval_config(const std::string& model, const std::string& archive, const nlohmann::json& dtype) {
  nlohmann::json config = {
      {"model", "hack"}, {"model_args", {{"pretrained", model}}}, {"batch_size", 1}, {"dtype", dtype}};
  if (!archive.empty()) config["model_args"]["archive"] = archive;
  return config;
}

std::string task_of(const std::string& path) { return std::filesystem::path(path).stem().string(); }

}  // namespace hack::jobs
