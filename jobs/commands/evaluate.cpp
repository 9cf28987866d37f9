#include <optional>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/lm_eval_report.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/records_claim.hpp"
#include "jobs/compression/window_scoring.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "model/evaluate/choice_requests.hpp"

namespace hack::jobs {
namespace {

using model::ChoiceAccuracy;
using model::ChoiceItem;
using model::ChoiceRequests;
using model::ChoiceScore;

/// Windows of a plan on every rank; rank 0 has them.
void share(const comm::Communicator& world, ChoiceRequests& requests) {
  static_assert(sizeof(model::Window) == 3 * sizeof(index_t));
  std::int64_t windows = std::ssize(requests.plan.windows);
  comm::broadcast(world, std::as_writable_bytes(std::span(&windows, 1)));
  requests.plan.windows.resize(static_cast<std::size_t>(windows));
  comm::broadcast(world, std::as_writable_bytes(std::span(requests.plan.windows)));
  comm::broadcast(world, std::as_writable_bytes(std::span(&requests.plan.context, 1)));
  requests.plan.stride = requests.plan.context;
  comm::broadcast(world, requests.ids);
}

std::string printed(const ChoiceAccuracy& accuracy) {
  const std::string error = accuracy.standard_error < 0 ? "" : fmt::format(" ± {:.4f}", accuracy.standard_error);
  return fmt::format("{:.4f}{}", accuracy.value, error);
}

nlohmann::json metrics_of(const ChoiceScore& score) {
  nlohmann::json metrics;
  for (const auto& [name, accuracy] :
       {std::pair("acc", score.acc), std::pair("acc_norm", score.acc_norm), std::pair("acc_bytes", score.acc_bytes)}) {
    metrics[name] = accuracy.value;
    if (accuracy.standard_error >= 0) metrics[std::string(name) + "_stderr"] = accuracy.standard_error;
  }
  return metrics;
}

class EvaluateCommand : public Command {
 public:
  explicit EvaluateCommand(CLI::App& parent)
      : Command(parent, "evaluate", "Multiple-choice accuracy of a model, dense or compressed") {
    add_model_options(app_, model_, archive_);
    selection_.add_to(app_);
    app_.add_option("--tasks", tasks_,
                    "Questions as JSONL, an object a line: context (or question), choices, answer (the right choice's "
                    "number, from 0) and, if the file has several, task")
        ->required()
        ->type_name(input_type);
    app_.add_option("--context", context_,
                    "Most tokens that the model reads of a context and a choice; 0: what it was made for. Longer "
                    "contexts lose their beginning")
        ->check(whole(0, 1L << 24))
        ->capture_default_str();
    app_.add_option("--limit", limit_, "Score at most so many items of each file")->check(whole(1, 1L << 30));
    report_.add_to(app_);
    scoring_.add_to(app_, "choices");
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    report_.check();
    const RecordsClaim records(session, scoring_, "choices");
    return with_device(session, [&]<Device D>() { return run_on<D>(session); });
  }

 private:
  /// The items of all files, and how many there are in them; on rank 0.
  std::vector<ChoiceItem> read_items(index_t& all) const {
    std::vector<ChoiceItem> items;
    all = 0;
    for (const std::string& path : tasks_) {
      const std::string text = read_text("--tasks", path);
      std::vector<ChoiceItem> more =
          for_option("--tasks " + path, [&] { return model::read_choice_items(text, task_of(path)); });
      all += std::ssize(more);
      if (limit_ && *limit_ < std::ssize(more)) more.resize(static_cast<std::size_t>(*limit_));
      items.insert(items.end(), more.begin(), more.end());
    }
    return items;
  }

  template <Device D>
  nlohmann::json run_on(Session& session) {
    const ModelFiles files(session, model_, archive_, selection_);
    const index_t trained = files.checkpoint().config().context_length;
    const index_t context = context_ > 0 ? context_ : trained;
    warn_of_context(session, context, trained);
    index_t all_items = 0;
    std::vector<ChoiceItem> items;
    ChoiceRequests requests;
    std::optional<int> bos;
    if (session.world().is_root()) {
      items = read_items(all_items);
      const model::Tokenizer tokenizer = files.checkpoint().tokenizer();
      bos = tokenizer.bos();
      requests = for_option("--tasks", [&] { return model::encode_choices(items, tokenizer, context); });
      if (requests.truncated > 0) {
        session.log().info("warning: {} contexts are longer than {} tokens and lose their beginning",
                           requests.truncated, context);
      }
    }
    share(session.world(), requests);
    const comm::ProcessGrid grid = scoring_.grid(session);
    const ScoringTask task{files, requests.ids, requests.plan, grid, held_type(session, files)};
    WindowScoring scoring(session, task);
    scoring.label = "evaluate";
    scoring.unit = "choices";
    if (!scoring_.records.empty()) {
      scoring.open_records(scoring_.records, session.world().is_root()
                                                 ? key_of(app_, {"tasks", "limit", "context", "lm-eval-report"})
                                                 : nlohmann::json());
    }
    const model::WindowLosses losses = scoring.run<D>(model::keep_losses<D>);
    if (!session.world().is_root()) return {};
    nlohmann::json results = answer(model::score_choices(items, losses), all_items, task, bos);
    results["tensor_parallel"] = grid.tensor().size();
    results["data_parallel"] = grid.data().size();
    results["weight_bytes_on_rank_0"] = scoring.bytes_held();
    results["seconds"] = scoring.seconds();
    results["choices_from_records"] = scoring.known_windows();
    return results;
  }

  nlohmann::json answer(const std::vector<ChoiceScore>& scores, index_t all_items, const ScoringTask& task,
                        std::optional<int> bos) const {
    nlohmann::json results = {{"tasks", nlohmann::json::object()},
                              {"choices", task.plan.windows.size()},
                              {"tokens_scored", 0},
                              {"context", task.plan.context},
                              {"bos", bos ? nlohmann::json(*bos) : nlohmann::json()},
                              {"dtype", model::name_of(task.type)}};
    index_t tokens = 0, items = 0;
    for (const model::Window& window : task.plan.windows) tokens += window.scored();
    results["tokens_scored"] = tokens;
    std::vector<LmEvalTask> for_readers;
    for (const ChoiceScore& score : scores) {
      fmt::print("{}: acc {}   acc_norm {}   acc_bytes {}   {} items\n", score.task, printed(score.acc),
                 printed(score.acc_norm), printed(score.acc_bytes), score.items);
      const nlohmann::json metrics = metrics_of(score);
      results["tasks"][score.task] = metrics;
      results["tasks"][score.task]["items"] = score.items;
      items += score.items;
      for_readers.push_back({.name = score.task,
                             .metrics = metrics,
                             .higher_is_better = {{"acc", true}, {"acc_norm", true}, {"acc_bytes", true}},
                             .items = score.items,
                             .original_items = score.items});
    }
    results["items"] = items;
    results["items_in_files"] = all_items;
    fmt::print("0-shot, longest context {}, {} choices, {} tokens scored, BOS {}, {}\n", task.plan.context,
               task.plan.windows.size(), tokens, bos ? std::to_string(*bos) : "none", model::name_of(task.type));
    nlohmann::json config = lm_eval_config(model_, archive_, results["dtype"]);
    config["limit"] = limit_ ? nlohmann::json(*limit_) : nlohmann::json();
    report_.write(for_readers, config);
    return results;
  }

  std::string model_, archive_;
  std::vector<std::string> tasks_;
  SelectionOptions selection_;
  ScoringOptions scoring_;
  LmEvalReport report_;
  long context_ = 0;
  std::optional<long> limit_;
};

}  // namespace

std::unique_ptr<Command> make_evaluate(CLI::App& app) { return std::make_unique<EvaluateCommand>(app); }

}  // namespace hack::jobs
