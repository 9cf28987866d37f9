#include <optional>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "comm/process_grid.hpp"
#include "io/file_digest.hpp"
#include "io/replace_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/divergence_report.hpp"
#include "jobs/compression/evaluation.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/perplexity_options.hpp"
#include "jobs/compression/records_claim.hpp"
#include "jobs/compression/window_scoring.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/output_claim.hpp"
#include "kernels/error.hpp"
#include "model/evaluate/base_comparison.hpp"
#include "model/evaluate/model_comparison.hpp"
#include "model/evaluate/perplexity.hpp"
#include "model/evaluate/python_text.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::jobs {
namespace {

using model::WindowLosses;

/// The text that is scored.
struct ScoredText {
  Encoded encoded;
  std::string bytes;  ///< on rank 0; empty where only the tokens are known
};

/// A model on the windows of a text.
struct Scored {
  WindowLosses losses = {};
  index_t bytes_held = 0;
  double seconds = 0;
  index_t known_windows = 0;
  std::optional<model::DivergenceSummary> divergence = {};
};

void write_per_token(const std::string& path, const model::WindowPlan& plan, const WindowLosses& losses,
                     const std::vector<int>& ids) {
  std::string text = "window,position,token,nll\n";
  for (std::size_t w = 0; w < losses.size(); ++w) {
    const model::Window& window = plan.windows[w];
    for (index_t t = 0; t < std::ssize(losses[w]); ++t) {
      const index_t position = window.first_scored + t;
      text += fmt::format("{},{},{},{:.9g}\n", plan.first + static_cast<index_t>(w), position,
                          ids[window.begin + position], losses[w][t]);
    }
  }
  for_option("--per-token", [&] { io::replace_file(path, text); });
}

/// Words and bytes of what a plan scores: of the text itself where that is all of it, else of what the tokens stand
/// for.
model::TextPerplexity text_perplexity(const ModelFiles& files, const model::WindowPlan& plan, const ScoredText& text,
                                      double nll_sum) {
  const model::Window &first = plan.windows.front(), &last = plan.windows.back();
  const std::vector<int>& ids = text.encoded.ids;
  std::string_view scored = text.bytes;
  std::string stretch;
  if (plan.first > 0 || last.end < std::ssize(ids)) {
    stretch = files.checkpoint().tokenizer().decode(
        std::span(ids).subspan(first.begin + first.first_scored, last.end - first.begin - first.first_scored));
    scored = stretch;
  }
  return model::per_word_and_byte(nll_sum, model::count_words(model::whole_characters(scored)), std::ssize(scored));
}

class PerplexityCommand : public Command {
 public:
  explicit PerplexityCommand(CLI::App& parent)
      : Command(parent, "perplexity", "Evaluate a model, dense or compressed, on a text") {
    options_.add_to(app_);
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    options_.check();
    const RecordsClaim records(session, options_.scoring, "windows");
    std::optional<comm::OutputClaim> claim;
    if (!options_.save_logits.empty()) claim.emplace(claim_output(session, "--save-all-logits", options_.save_logits));
    return with_device(session, [&]<Device D>() { return run_on<D>(session); });
  }

 private:
  ScoredText read_scored_text(const Session& session, const ModelFiles& files,
                              const model::BaseLogitsFile* base) const {
    if (options_.text.empty()) {
      // A tokenizer's first token is the same, whatever the text.
      Encoded encoded = encode_on_root(session.world(), files.checkpoint(), options_.model, "a");
      encoded.ids.assign(base->tokens().begin(), base->tokens().end());
      return {std::move(encoded), {}};
    }
    std::string text = session.world().is_root() ? read_text("--text", options_.text) : std::string();
    Encoded encoded = encode_on_root(session.world(), files.checkpoint(), "--text " + options_.text, text,
                                     options_.chosen_protocol().bos);
    if (base != nullptr) {
      const auto [theirs, ours] =
          std::mismatch(base->tokens().begin(), base->tokens().end(), encoded.ids.begin(), encoded.ids.end());
      validate(
          theirs == base->tokens().end(),
          "--text {}: token {} is another one than in {}; leave --text out, or give the text that this was made of",
          options_.text, ours - encoded.ids.begin(), options_.compare);
      encoded.ids.resize(base->tokens().size());
    }
    return {std::move(encoded), std::move(text)};
  }

  /// The file of --compare, if it names one. The same on every rank.
  std::optional<model::BaseLogitsFile> open_base(const ModelFiles& files) const {
    if (!options_.compares_with_file()) return std::nullopt;
    auto base = for_option("--compare", [&] { return model::BaseLogitsFile(options_.compare); });
    const index_t vocabulary = files.checkpoint().config().vocab_size;
    validate(base.vocabulary() == vocabulary,
             "--compare {}: has a vocabulary of {} tokens, the model one of {}; give logits of a model with the same "
             "tokenizer",
             options_.compare, base.vocabulary(), vocabulary);
    validate(!options_.context || *options_.context == base.context(),
             "--context {}: the windows of {} have {} tokens; leave --context out", options_.context.value_or(0),
             options_.compare, base.context());
    return base;
  }

  template <Device D>
  nlohmann::json run_on(Session& session) {
    const ModelFiles files(session, options_.model, options_.archive, options_.selection);
    const std::optional<model::BaseLogitsFile> base = open_base(files);
    const ScoredText text = read_scored_text(session, files, base ? &*base : nullptr);
    const double overlap =
        files.archive() ? calibration_overlap(session, *files.archive(), "the text", text.encoded.ids) : 0;
    const model::WindowPlan plan = windows_of(session, files.checkpoint(), text.encoded, base ? base->context() : 0);
    const comm::ProcessGrid grid = options_.scoring.grid(session);
    const ScoringTask task{files, text.encoded.ids, plan, grid, held_type(session, files)};
    Scored scored;
    // Where all ranks share one copy of the model, comparing it with the dense one gives its losses too.
    const bool is_one_pass =
        options_.compares_with_dense() && options_.scoring.records.empty() && grid.data().size() == 1;
    if (!is_one_pass) scored = score<D>(session, task, base ? &*base : nullptr);
    if (options_.compares_with_dense()) {
      Scored compared = compare_with_dense<D>(session, task);
      scored.divergence = compared.divergence;
      if (is_one_pass) scored = std::move(compared);
    }
    if (!session.world().is_root()) return {};
    if (!options_.per_token.empty()) write_per_token(options_.per_token, plan, scored.losses, text.encoded.ids);
    nlohmann::json results = answer(task, text, scored.losses);
    if (scored.divergence) {
      print(*scored.divergence);
      results.update(describe(*scored.divergence));
    }
    results["tensor_parallel"] = grid.tensor().size();
    results["data_parallel"] = grid.data().size();
    results["weight_bytes_on_rank_0"] = scored.bytes_held;
    results["seconds"] = scored.seconds;
    results["tokens_per_second"] = static_cast<double>(tokens_of(plan)) / scored.seconds;
    results["windows_from_records"] = scored.known_windows;
    if (files.archive() != nullptr) results["calibration_overlap"] = overlap;
    return results;
  }

  /// Scores the windows that no record holds, shared out over the grid: compared with `base` where there is one, their
  /// logits kept where these are asked for.
  template <Device D>
  Scored score(Session& session, const ScoringTask& task, const model::BaseLogitsFile* base) const {
    WindowScoring scoring(session, task, base != nullptr ? model::comparison_numbers : 1);
    open_records(session, task, scoring);
    Scored out;
    if (base != nullptr) {
      const auto compare = [&](model::Llama<D>& llama, const model::ScoredTokens<D>& tokens, std::vector<float>& kept) {
        model::keep_comparison(llama, *base, task.plan.first, tokens, kept);
      };
      model::ComparedWindows compared = model::compared_windows(scoring.run<D>(compare));
      out.losses = std::move(compared.losses);
      out.divergence = compared.divergence;
    } else {
      out.losses =
          options_.save_logits.empty() ? scoring.run<D>(model::keep_losses<D>) : save_logits<D>(session, task, scoring);
    }
    out.bytes_held = scoring.bytes_held();
    out.seconds = scoring.seconds();
    out.known_windows = scoring.known_windows();
    return out;
  }

  /// Scores the windows and writes their logits on rank 0.
  template <Device D>
  WindowLosses save_logits(const Session& session, const ScoringTask& task, WindowScoring& scoring) const {
    const index_t vocabulary = task.files.checkpoint().config().vocab_size;
    std::optional<model::BaseLogitsWriter> writer;
    if (session.world().is_root()) {
      const auto begin = task.ids.begin() + task.plan.windows.front().begin;
      const std::vector<int> tokens(begin, task.ids.begin() + task.plan.windows.back().end);
      writer.emplace(options_.save_logits, task.plan.context, vocabulary, tokens);
    }
    WindowLosses losses = scoring.run<D>(model::keep_base_rows<D>, [&](index_t window, std::vector<float>& kept) {
      writer->add(window, model::take_base_rows(kept, vocabulary));
    });
    if (writer) writer->finish();
    return losses;
  }

  void open_records(const Session& session, const ScoringTask& task, WindowScoring& scoring) const {
    if (options_.scoring.records.empty()) return;
    nlohmann::json key;
    if (session.world().is_root()) {
      // What only chooses windows or adds answers is left out.
      key = key_of(app_, {"text", "windows", "slice", "per-token", "divergence", "compare", "lm-eval-report"});
      key["protocol"] = task.plan.protocol.name;
      if (options_.compares_with_file()) key["base"] = io::file_digest(options_.compare);
    }
    scoring.open_records(options_.scoring.records, std::move(key));
  }

  /// The archive's model beside the dense one; all ranks share one copy of each, one after the other.
  template <Device D>
  Scored compare_with_dense(Session& session, const ScoringTask& of) const {
    Queue<D> queue(session.threads(), session.products());
    const model::WeightSource dense{of.files.checkpoint(), nullptr, of.type};
    Progress progress(session.log(), "divergence", "windows");
    const index_t windows = std::ssize(of.plan.windows);
    std::optional<model::Llama<D>> llama(std::in_place, dense, session.world(), queue);
    const model::ModelComparison<D> comparison(*llama, of.ids, of.plan,
                                               [&](index_t done, index_t) { progress.update(done, 2 * windows); });
    llama.emplace(of.files.source(of.type), session.world(), queue);
    model::ComparedModel model =
        comparison.compare(*llama, dense, [&](index_t done, index_t) { progress.update(windows + done, 2 * windows); });
    return {std::move(model.losses), llama->bytes_held(), model.seconds, 0, model.divergence};
  }

  /// `base_context`: of the file that is compared with, or 0.
  model::WindowPlan windows_of(const Session& session, const model::Checkpoint& checkpoint, const Encoded& encoded,
                               index_t base_context) const {
    const index_t trained = checkpoint.config().context_length;
    std::optional<index_t> context = options_.context;
    if (base_context > 0) context = base_context;
    if (options_.chosen_protocol().fits_model && !context)
      context = std::min(options_.chosen_protocol().context, trained);
    model::WindowPlan plan =
        options_.sliced(for_option("--text, --context, --stride and --windows do not go together", [&] {
          return model::plan_windows(options_.chosen_protocol(), std::ssize(encoded.ids), context, options_.stride,
                                     options_.windows);
        }));
    if (options_.chosen_protocol().bos == model::BosRule::each_window) plan.first_token = encoded.bos;
    warn_of_context(session, plan.context, trained);
    return plan;
  }

  nlohmann::json answer(const ScoringTask& task, const ScoredText& text, const WindowLosses& losses) const {
    const model::WindowPlan& plan = task.plan;
    const Encoded& encoded = text.encoded;
    const model::Perplexity result = model::score(plan, losses);
    const std::string bos = encoded.bos ? std::to_string(*encoded.bos) : "none";
    fmt::print("perplexity {:.6f} ± {:.4f}   protocol {}, context {}, {} windows, {} tokens scored, BOS {}{}, {}\n",
               result.perplexity, result.standard_error, plan.protocol.name, plan.context, plan.windows.size(),
               result.tokens_scored, bos, plan.protocol.bos == model::BosRule::in_front ? " in front" : "",
               model::name_of(task.type));
    nlohmann::json results = {
        {"perplexity", result.perplexity},
        {"stderr", result.standard_error},
        {"nll_sum", result.nll_sum},
        {"tokens_scored", result.tokens_scored},
        {"windows", plan.windows.size()},
        {"first_window", plan.first},
        {"protocol", plan.protocol.name},
        {"context", plan.context},
        {"stride", plan.stride},
        {"tokens_in_text", encoded.ids.size()},
        {"bos", encoded.bos ? nlohmann::json(*encoded.bos) : nlohmann::json()},
        {"dtype", model::name_of(task.type)},
    };
    if (plan.protocol.scored == model::Scored::every) add_text_perplexity(task, text, result.nll_sum, results);
    return results;
  }

  /// Perplexity of words and bytes: printed, in the report, and in lm-evaluation-harness's.
  void add_text_perplexity(const ScoringTask& task, const ScoredText& text, double nll_sum,
                           nlohmann::json& results) const {
    const model::TextPerplexity per = text_perplexity(task.files, task.plan, text, nll_sum);
    fmt::print("word perplexity {:.6f}   byte perplexity {:.6f}   bits per byte {:.6f}   {} words, {} bytes\n",
               per.word_perplexity, per.byte_perplexity, per.bits_per_byte, per.words, per.bytes);
    const nlohmann::json metrics = {{"word_perplexity", per.word_perplexity},
                                    {"byte_perplexity", per.byte_perplexity},
                                    {"bits_per_byte", per.bits_per_byte}};
    nlohmann::json config = lm_eval_config(options_.model, options_.archive, results["dtype"]);
    config["model_args"]["max_length"] = task.plan.context;
    options_.lm_eval.write(
        {{.name = task_of(options_.text),
          .metrics = metrics,
          .higher_is_better = {{"word_perplexity", false}, {"byte_perplexity", false}, {"bits_per_byte", false}},
          .items = 1,
          .original_items = 1}},
        config);
    results.update(metrics);
    results["words"] = per.words;
    results["bytes"] = per.bytes;
  }

  PerplexityOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_perplexity(CLI::App& app) { return std::make_unique<PerplexityCommand>(app); }

}  // namespace hack::jobs
