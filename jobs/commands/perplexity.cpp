#include <optional>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/file_digest.hpp"
#include "io/hash.hpp"
#include "comm/process_grid.hpp"
#include "io/replace_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/evaluation.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/evaluate/loss_records.hpp"
#include "model/evaluate/model_comparison.hpp"
#include "model/evaluate/perplexity.hpp"

namespace hack::jobs {
namespace {

using model::WindowLosses;

struct PerplexityOptions {
  std::string model, archive, text, per_token;
  std::string protocol{model::protocols().front().name};
  std::optional<long> context, stride, windows;
  std::string slice;
  std::vector<std::string> records;
  int tensor_parallel = 0;
  bool divergence = false;
};

/// What is scored, and by which ranks.
struct ScoringTask {
  const ModelFiles& files;
  const Encoded& encoded;
  const model::WindowPlan& plan;
  const comm::ProcessGrid& grid;
  model::HeldType type;
};

/// A model on the windows of a text.
struct Scored {
  WindowLosses losses;
  index_t bytes_held = 0;
  double seconds = 0;
  std::optional<model::DivergenceSummary> divergence = {};
};

index_t known_windows(const WindowLosses& losses) {
  return std::count_if(losses.begin(), losses.end(), [](const auto& window) { return !window.empty(); });
}

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

/// What each protocol does, in words.
std::string protocol_help() {
  std::string help = "How windows are cut and tokens counted";
  for (const model::Protocol& protocol : model::protocols()) {
    help += fmt::format(". {}: {} tokens, {}; scored: {}", protocol.name, protocol.context, protocol.windows,
                        protocol.scored_tokens);
  }
  return help;
}

void print_divergence(const model::DivergenceSummary& from_dense) {
  fmt::print(
      "divergence {:.6f} ± {:.6f} nats a token from the dense model; 90 % {:.5f}, 99 % {:.5f}, 99.9 % {:.5f}, "
      "maximum {:.4f}\n",
      from_dense.mean.value, from_dense.mean.standard_error, from_dense.quantile_90, from_dense.quantile_99,
      from_dense.quantile_999, from_dense.maximum);
  fmt::print("same top token {:.2f} ± {:.2f} %   ln perplexity {:+.6f} ± {:.6f}\n", 100 * from_dense.same_top.value,
             100 * from_dense.same_top.standard_error, from_dense.ln_perplexity.value,
             from_dense.ln_perplexity.standard_error);
}

/// What the library finds wrong with windows, and the options that it comes from.
template <class F>
auto naming_options(const std::string& options, F work) {
  try {
    return work();
  } catch (const Error& error) {
    fail("{}: {}", options, error.what());
  }
}

class PerplexityCommand : public Command {
 public:
  explicit PerplexityCommand(CLI::App& parent)
      : Command(parent, "perplexity", "Evaluate a model, dense or compressed, on a text") {
    add_model_options(app_, options_.model, options_.archive);
    selection_.add_to(app_);
    app_.add_option("--text", options_.text, "UTF-8 text to score")->required()->type_name(input_type);
    app_.add_option("--protocol", options_.protocol, protocol_help())
        ->check(one_of(model::protocol_names()))
        ->capture_default_str();
    app_.add_option("--context", options_.context, "Tokens of a window, in place of the protocol's")
        ->check(whole(2, 1L << 24));
    app_.add_option("--stride", options_.stride, "Distance of windows that overlap, in place of the protocol's")
        ->check(whole(1, 1L << 24));
    app_.add_option("--windows", options_.windows, "Score at most so many windows")->check(whole(1, 1L << 30));
    app_.add_option("--slice", options_.slice, "I/N: score the I-th of N runs of windows, I from 1");
    app_.add_option("--records", options_.records,
                    "Append the losses of each window to the first FILE as it finishes; windows that one of the "
                    "files holds are not computed again")
        ->type_name(output_type);
    app_.add_option("--per-token", options_.per_token, "Write window,position,token,nll of every scored token")
        ->type_name(output_type);
    app_.add_flag(
            "--divergence", options_.divergence,
            "With --archive: how its next-token distributions differ from the dense model's over the same tokens: KL "
            "divergence (mean, 90, 99 and 99.9 %, maximum), same most likely token, difference of ln perplexity")
        ->needs("--archive");
    app_.add_option("--tensor-parallel", options_.tensor_parallel,
                    "Ranks that share one copy of the model; the other ranks take windows. 0: all share one")
        ->check(whole(0, 65536))
        ->capture_default_str();
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    if (!options_.per_token.empty()) for_option("--per-token", [&] { io::check_replaceable(options_.per_token); });
    return with_device(session, [&]<Device D>() { return run_on<D>(session); });
  }

 private:
  Encoded encode_text(const Session& session, const ModelFiles& files) const {
    const std::string text = session.world().is_root() ? read_text("--text", options_.text) : std::string();
    return encode_on_root(session.world(), files.checkpoint(), "--text " + options_.text, text);
  }

  template <Device D>
  nlohmann::json run_on(Session& session) {
    const model::Protocol& protocol = model::find_protocol(options_.protocol);
    validate(!options_.divergence || protocol.bos != model::BosRule::each_window,
             "--divergence does not go with --protocol {}, which begins each window with a token of its own; choose "
             "another protocol",
             options_.protocol);
    const ModelFiles files(session, options_.model, options_.archive, selection_);
    const Encoded encoded = encode_text(session, files);
    const model::WindowPlan plan = windows_of(session, files.checkpoint(), encoded, protocol);
    const comm::ProcessGrid grid = for_option(fmt::format("--tensor-parallel {}", options_.tensor_parallel), [&] {
      return comm::ProcessGrid(session.world(), options_.tensor_parallel);
    });
    const model::HeldType type = held_type(session, files);
    // Losses that are known already, and the file to append to: on rank 0.
    WindowLosses losses;
    std::optional<model::LossRecords> records;
    if (!options_.records.empty()) files.checkpoint().share_fingerprint(session.world(), session.threads());
    if (session.world().is_root()) records = read_records(files, encoded, plan, type, grid, losses);
    const index_t known = known_windows(losses);
    if (known > 0) session.log().info("{} of {} windows are in --records", known, plan.windows.size());

    const ScoringTask task{files, encoded, plan, grid, type};
    Scored scored{std::move(losses)};
    // Where all ranks share one copy of the model, comparing it gives its losses too.
    const bool is_one_pass = options_.divergence && options_.records.empty() && grid.data().size() == 1;
    if (!is_one_pass) score_windows<D>(session, task, records, scored);
    if (options_.divergence) {
      Scored compared = compare_with_dense<D>(session, task);
      scored.divergence = compared.divergence;
      if (is_one_pass) scored = std::move(compared);
    }
    if (!session.world().is_root()) return {};
    if (!options_.per_token.empty()) write_per_token(options_.per_token, plan, scored.losses, encoded.ids);
    nlohmann::json results = answer(plan, scored.losses, encoded, type);
    if (scored.divergence) {
      print_divergence(*scored.divergence);
      results.update(describe(*scored.divergence));
    }
    results["tensor_parallel"] = grid.tensor().size();
    results["data_parallel"] = grid.data().size();
    results["weight_bytes_on_rank_0"] = scored.bytes_held;
    results["seconds"] = scored.seconds;
    results["tokens_per_second"] = static_cast<double>(tokens_of(plan)) / scored.seconds;
    results["windows_from_records"] = known;
    return results;
  }

  /// Computes the losses that `scored` does not have yet; windows are shared out over the grid.
  template <Device D>
  void score_windows(Session& session, const ScoringTask& of, std::optional<model::LossRecords>& records,
                     Scored& scored) const {
    const index_t known = known_windows(scored.losses), windows = std::ssize(of.plan.windows);
    if (comm::all_reduce_max(session.world(), known == windows ? 1.0 : 0.0) > 0) return;
    Queue<D> queue(session.threads(), session.products());
    model::Llama<D> llama(of.files.source(of.type), of.grid.tensor(), queue);
    scored.bytes_held = llama.bytes_held();
    const bool each_window = of.plan.protocol.bos == model::BosRule::each_window;
    Progress progress(session.log(), "perplexity", "windows");
    index_t done = 0;
    model::WindowRun run{.known = std::move(scored.losses), .on_window = [&](index_t window, auto finished) {
                           if (records) records->append(of.plan, window, finished);
                           progress.update(++done, windows - known);
                         }};
    if (each_window) run.first_token = of.encoded.bos;
    const Stopwatch watch;
    scored.losses = model::window_losses(llama, of.grid, of.encoded.ids, of.plan, std::move(run));
    scored.seconds = watch.seconds();
  }

  /// The archive's model beside the dense one; all ranks share one copy of each, one after the other.
  template <Device D>
  Scored compare_with_dense(Session& session, const ScoringTask& of) const {
    Queue<D> queue(session.threads(), session.products());
    const model::WeightSource dense{of.files.checkpoint(), nullptr, of.type};
    Progress progress(session.log(), "divergence", "windows");
    const index_t windows = std::ssize(of.plan.windows);
    std::optional<model::Llama<D>> llama(std::in_place, dense, session.world(), queue);
    const model::ModelComparison<D> comparison(*llama, of.encoded.ids, of.plan,
                                               [&](index_t done, index_t) { progress.update(done, 2 * windows); });
    llama.emplace(of.files.source(of.type), session.world(), queue);
    model::ComparedModel model =
        comparison.compare(*llama, dense, [&](index_t done, index_t) { progress.update(windows + done, 2 * windows); });
    return {std::move(model.losses), llama->bytes_held(), model.seconds, model.divergence};
  }

  model::WindowPlan windows_of(const Session& session, const model::Checkpoint& checkpoint, const Encoded& encoded,
                               const model::Protocol& protocol) const {
    model::WindowPlan plan = sliced(naming_options("--text, --context, --stride and --windows do not go together", [&] {
      return model::plan_windows(protocol, std::ssize(encoded.ids), options_.context, options_.stride,
                                 options_.windows);
    }));
    const index_t trained = checkpoint.config().context_length;
    if (plan.context > trained) {
      session.log().info("warning: --context {} is longer than the {} tokens the model was made for", plan.context,
                         trained);
    }
    return plan;
  }

  model::WindowPlan sliced(const model::WindowPlan& plan) const {
    if (options_.slice.empty()) return plan;
    long part = 0, parts = 0;
    char after = 0;
    validate(std::sscanf(options_.slice.c_str(), "%ld/%ld%c", &part, &parts, &after) == 2 && part >= 1 && part <= parts,
             "--slice {} is no slice; give I/N with I from 1 to N", options_.slice);
    return naming_options("--slice " + options_.slice, [&] { return model::slice_of(plan, part - 1, parts); });
  }

  /// Puts what --records hold into `losses`; the file that is added to, if any.
  std::optional<model::LossRecords> read_records(const ModelFiles& files, const Encoded& encoded,
                                                 const model::WindowPlan& plan, model::HeldType type,
                                                 const comm::ProcessGrid& grid, WindowLosses& losses) const {
    losses.resize(plan.windows.size());
    if (options_.records.empty()) return std::nullopt;
    io::Hash ids;
    ids.add(std::as_bytes(std::span(encoded.ids)));
    // Every option that may change a loss: what only chooses windows, places or speed is left out.
    nlohmann::json run = describe_options(app_);
    for (const char* name : {"MODEL", "text", "windows", "slice", "records", "per-token", "device", "threads",
                             "deadline", "report", "quiet", "divergence"}) {
      run.erase(name);
    }
    run["model"] = files.checkpoint().fingerprint();
    run["archive"] = options_.archive.empty() ? nlohmann::json() : nlohmann::json(io::file_digest(options_.archive));
    run["text"] = ids.digits();
    run["context"] = plan.context;
    run["stride"] = plan.stride;
    run["dtype"] = model::name_of(type);
    run["tensor-parallel"] = grid.tensor().size();
    std::optional<model::LossRecords> first;
    for (const std::string& path : options_.records) {
      const auto records = naming_options("--records", [&] { return model::LossRecords(path, run); });
      validate(!first || std::filesystem::exists(path), "--records {}: there is no such file (only the first is made)",
               path);
      records.read(plan, losses);
      if (!first) first = records;
    }
    return first;
  }

  /// Tokens that go through the model, scored or not.
  static index_t tokens_of(const model::WindowPlan& plan) {
    index_t tokens = 0;
    for (const model::Window& window : plan.windows) tokens += window.size();
    return tokens;
  }

  nlohmann::json answer(const model::WindowPlan& plan, const WindowLosses& losses, const Encoded& encoded,
                        model::HeldType type) const {
    const model::Perplexity result = model::score(plan, losses);
    const std::string bos = encoded.bos ? std::to_string(*encoded.bos) : "none";
    fmt::print("perplexity {:.6f} ± {:.4f}   protocol {}, context {}, {} windows, {} tokens scored, BOS {}, {}\n",
               result.perplexity, result.standard_error, plan.protocol.name, plan.context, plan.windows.size(),
               result.tokens_scored, bos, model::name_of(type));
    return {
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
        {"dtype", model::name_of(type)},
    };
  }

  PerplexityOptions options_;
  SelectionOptions selection_;
};

}  // namespace

std::unique_ptr<Command> make_perplexity(CLI::App& app) { return std::make_unique<PerplexityCommand>(app); }

}  // namespace hack::jobs
