#include "jobs/compression/window_scoring.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>
#include <span>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/file_digest.hpp"
#include "io/hash.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/llama/names.hpp"

namespace hack::jobs {

void ScoringOptions::add_to(CLI::App& app, const std::string& unit) {
  app.add_option("--records", records,
                 fmt::format("Append the losses of each window to the first FILE as it finishes; {} that one of the "
                             "files holds are not computed again",
                             unit))
      ->type_name(output_type);
  app.add_option("--tensor-parallel", tensor_parallel,
                 fmt::format("Ranks that share one copy of the model; the other ranks take {}. 0: all share one", unit))
      ->check(whole(0, 65536))
      ->capture_default_str();
}

comm::ProcessGrid ScoringOptions::grid(const Session& session) const {
  return for_option(fmt::format("--tensor-parallel {}", tensor_parallel),
                    [&] { return comm::ProcessGrid(session.world(), tensor_parallel); });
}

WindowScoring::WindowScoring(Session& session, const ScoringTask& task, index_t numbers)
    : session_(session), task_(task), numbers_(numbers) {}

void WindowScoring::open_records(const std::vector<std::string>& paths, nlohmann::json key) {
  if (paths.empty()) return;
  task_.files.checkpoint().share_fingerprint(session_.world(), session_.threads());
  if (!session_.world().is_root()) return;
  io::Hash ids;
  ids.add(std::as_bytes(std::span(task_.ids)));
  key["model"] = task_.files.checkpoint().fingerprint();
  key["text"] = ids.digits();
  key["context"] = task_.plan.context;
  key["stride"] = task_.plan.stride;
  key["dtype"] = model::name_of(task_.type);
  key["tensor-parallel"] = task_.grid.tensor().size();
  known_.resize(task_.plan.windows.size());
  for (const std::string& path : paths) {
    const auto records = for_option("--records", [&] { return model::LossRecords(path, key, numbers_); });
    validate(!records_ || std::filesystem::exists(path), "--records {}: there is no such file (only the first is made)",
             path);
    records.read(task_.plan, known_);
    if (!records_) records_ = records;
  }
  known_windows_ = std::count_if(known_.begin(), known_.end(), [](const auto& window) { return !window.empty(); });
  if (known_windows_ > 0) {
    session_.log().info("{} of {} {} are in --records", known_windows_, task_.plan.windows.size(), unit);
  }
}

template <Device D>
model::WindowLosses WindowScoring::run(const model::ScoreTokens<D>& score, const model::OnWindow& on_window) {
  const index_t windows = std::ssize(task_.plan.windows);
  if (comm::all_reduce_max(session_.world(), known_windows_ == windows ? 1.0 : 0.0) > 0) return std::move(known_);
  Queue<D> queue(session_.threads(), session_.products());
  model::Llama<D> llama(task_.files.source(task_.type), task_.grid.tensor(), queue);
  bytes_held_ = llama.bytes_held();
  Progress progress(session_.log(), label, unit);
  model::WindowRun run{
      .known = std::move(known_),
      .on_window =
          [&](index_t window, std::vector<float>& kept) {
            if (on_window) on_window(window, kept);
            if (records_) records_->append(task_.plan, window, kept);
          },
      .on_progress =
          [&](std::span<const index_t> of_copies) {
            const auto [least, most] = std::minmax_element(of_copies.begin(), of_copies.end());
            std::optional<int> slowest;  // a copy's first rank; copies that are dealt to in turn differ by one
            if (*most > *least + 1) slowest = static_cast<int>(least - of_copies.begin()) * task_.grid.tensor().size();
            progress.update(std::accumulate(of_copies.begin(), of_copies.end(), index_t{0}), windows - known_windows_,
                            slowest);
          }};
  const Stopwatch watch;
  model::WindowLosses kept = model::score_windows<D>(llama, task_.grid, task_.ids, task_.plan, std::move(run), score);
  seconds_ = watch.seconds();
  return kept;
}

template model::WindowLosses WindowScoring::run(const model::ScoreTokens<Device::cpu>&, const model::OnWindow&);
template model::WindowLosses WindowScoring::run(const model::ScoreTokens<Device::cuda>&, const model::OnWindow&);

nlohmann::json key_of(const CLI::App& app, const std::vector<std::string>& without) {
  nlohmann::json key = describe_options(app);
  for (const char* name : {"MODEL", "records", "device", "threads", "deadline", "report", "quiet"}) key.erase(name);
  for (const std::string& name : without) key.erase(name);
  if (key.contains("archive") && key["archive"].is_string()) {
    key["archive"] = io::file_digest(key["archive"].get<std::string>());
  }
  return key;
}

void warn_of_context(const Session& session, index_t context, index_t trained) {
  if (context <= trained) return;
  session.log().info("warning: --context {} is longer than the {} tokens the model was made for", context, trained);
}

index_t tokens_of(const model::WindowPlan& plan) {
  index_t tokens = 0;
  for (const model::Window& window : plan.windows) tokens += window.size();
  return tokens;
}

}  // namespace hack::jobs
