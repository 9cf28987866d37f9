#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "io/temporary_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/compression.hpp"
#include "jobs/compression/evaluation.hpp"
#include "jobs/compression/healing.hpp"
#include "jobs/compression/loss_target.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/selection.hpp"
#include "jobs/compression/storage_words.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/output_claim.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/random_checkpoint.hpp"
#include "svd/tile/storage.hpp"

namespace hack::jobs {
namespace {

class CompressCommand : public Command {
 public:
  explicit CompressCommand(CLI::App& parent)
      : Command(parent, "compress", "Factorize a model's matrices tile by tile into a factor archive") {
    auto* model =
        app_.add_option("MODEL", model_,
                        "Hugging Face directory or .gguf file; or an archive made with --max-rank, of which a "
                        "smaller one is made without another factorization")
            ->type_name(input_type);
    auto* shape = app_.add_option("--shape", shape_,
                                  "In place of MODEL: one of a published shape with random weights, for timings "
                                  "(llama-3.2-1b, llama-3.1-8b, …); factors are fitted to random ids");
    shape->excludes(model);
    app_.add_option("--layers", layers_, "Its first layers alone")->needs(shape)->check(whole(1, 1L << 20));
    app_.add_option("--output", output_, "The archive to write (HDF5)")->required()->type_name(output_type);
    auto* rule = app_.add_option_group("rank rule", "How many singular values a tile keeps; one of");
    topk_ = rule->add_option("--topk", options_.rule.value, "This share of its singular values")->check(number(0, 1));
    keep_ = rule->add_option("--keep", options_.rule.value, "A budget: this share of the matrices' dense bytes")
                ->check(number_above(0, 1));
    tolerance_ = rule->add_option("--tolerance", options_.rule.value,
                                  "As few as leave out at most this share of the tile's norm")
                     ->check(number(0, 1));
    auto* target_loss =
        rule->add_option("--target-loss", options_.target_loss,
                         "The smallest archive whose mean KL divergence from the dense model, on a window of the "
                         "calibration text, is at most so many nats a token")
            ->check(number_above(0, 1000));
    max_rank_ = rule->add_option("--max-rank", options_.rule.value,
                                 "None yet: whole spectra, and vectors up to so many, of which perplexity, generate, "
                                 "sweep and compress take any smaller ranks (--method plain)")
                    ->check(whole(1, 1L << 30));
    codec_ =
        rule->add_option("--codec,--codecs", options_.codecs,
                         "All, but in this codec, which has blocks: every tile is one dense term, its codes fitted "
                         "to the text (--method whiten: scales alone; plain: neither). Of several, with --keep: each "
                         "matrix in the one that the model's loss chooses")
            ->delimiter(',')
            ->check(codec_words());
    const std::vector<CLI::Option*> rules = {topk_, keep_, tolerance_, target_loss, max_rank_, codec_};
    for (auto one = rules.begin(); one != rules.end(); ++one) {
      for (auto other = one + 1; other != rules.end(); ++other) {
        const bool is_shared_budget = *one == keep_ && *other == codec_;
        if (!is_shared_budget) (*one)->excludes(*other);
      }
    }
    rule->require_option(1, 2);
    app_.add_flag("--resume", resume_,
                  "Go on where a killed run has ended: after the layers in OUTPUT.parts; with --heal after those in "
                  "OUTPUT.unhealed.parts, then with OUTPUT.unhealed, the archive before the training, and the "
                  "training's state in OUTPUT.heal. They are kept until the archive is whole. Without it they are "
                  "made anew. Measurements of the model (*.records beside OUTPUT) serve every run");
    options_.add_to(app_);
    healing_.add_to(app_, 0);
    evaluation_.add_to(app_, "--evaluate");
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    using Kind = svd::RankRule::Kind;
    const bool has_codec = codec_->count() > 0, has_budget = keep_->count() > 0;
    if (has_codec && !has_budget) options_.rule.value = 1;
    options_.rule.kind = has_budget                        ? Kind::keep
                         : topk_->count() > 0 || has_codec ? Kind::topk
                         : max_rank_->count() > 0          ? Kind::max_rank
                                                           : Kind::tolerance;
    for_option("--output", [&] { io::place_of(output_); });
    const comm::OutputClaim claim = claim_output(session, "--output", output_);
    if (is_archive(model_)) return run_on_archive(session);
    const ModelFiles files = open_model(session);
    const model::Checkpoint& checkpoint = files.checkpoint();
    options_.settle_terms();
    if (options_.quantizes()) {
      refuse({"--factor-type", "--storage", "--align", "--floor", "--sweeps", "--no-refit"}, "quantized tiles",
             "it is of low rank; --terms lowrank asks for that");
    }
    options_.check();
    options_.leave_out_slow_codecs();
    if (options_.rule.kind == Kind::max_rank) {
      refuse({"--factor-type", "--storage", "--evaluate"}, "--max-rank",
             "vectors are kept in f32 as they are found; form and ranks are chosen when they are taken");
    }
    validate(!resume_ || !options_.target_loss,
             "--resume does not go with --target-loss (every attempt has other ranks); leave it out: the losses "
             "measured before are found again");
    check_healing();
    if (is_left_to_heal(checkpoint)) return heal_what_is_left(session, checkpoint);
    const DType type = common_.chosen_dtype(checkpoint.exact_type());
    Compressor compressor(session, checkpoint, type);
    // The dense model runs first: a text that is unfit is an error now, not after the compression.
    Evaluation evaluation(session, checkpoint, common_.held_type(), "--evaluate", evaluation_,
                          options_.calibration.texts);
    std::optional<TargetedArchive> targeted;
    if (options_.target_loss) {
      targeted = compress_to_loss(session, compressor, options_, *options_.target_loss, output_);
    }
    const FinishedSteps steps = resume_ ? FinishedSteps::resumed : FinishedSteps::kept;
    const Compressed compressed = targeted ? targeted->compressed : compressor.run(options_, first_output(), steps);
    std::optional<Healed> healed;
    if (heals()) healed = heal_compressed(session);
    const std::vector<TextScore> scores = evaluation.score(output_);
    if (!session.world().is_root()) return {};
    nlohmann::json results = answer(session, &checkpoint, compressed, scores);
    if (targeted) {
      fmt::print("  loss {:.4g} nats a token (predicted {:.4g}) at keep {:.4f}, attempt {}\n", targeted->measured,
                 targeted->predicted, targeted->keep, targeted->attempts);
      results["target_loss"] = {{"keep", targeted->keep},
                                {"predicted", targeted->predicted},
                                {"measured", targeted->measured},
                                {"attempts", targeted->attempts}};
    }
    if (healed) results["heal"] = report_healed(*healed, healing_, output_);
    return results;
  }

 private:
  bool heals() const { return healing_.training.steps > 0; }
  /// Where the archive lies that is to be trained.
  std::string unhealed() const { return output_ + ".unhealed"; }
  std::string first_output() const { return heals() ? unhealed() : output_; }

  void check_healing() const {
    if (!heals()) return;
    validate(!options_.calibration.texts.empty(), "--heal needs a text to train on: give --calibration FILE");
    validate(!std::filesystem::exists(unhealed()) || is_archive(unhealed()),
             "--heal: {} is no archive (what is to be trained is written there first); move it away, or name another "
             "--output",
             unhealed());
    refuse({"--target-loss", "--max-rank"}, "--heal", "what is trained is an archive with its budget");
  }

  /// Whether a run of these options that was killed while it trained has left what it had compressed.
  bool is_left_to_heal(const model::Checkpoint& checkpoint) const {
    if (!heals() || !resume_ || !std::filesystem::exists(unhealed())) return false;
    const svd::ArchiveHeader made = svd::FactorArchive(unhealed()).info().header;
    nlohmann::json how = nlohmann::json::parse(made.options, nullptr, false);
    if (how.is_object()) how.erase(sketch_key);  // is of the text, no option
    return made.model_fingerprint == checkpoint.fingerprint() && how == options_.describe();
  }

  /// The end of a run that was killed while it trained.
  nlohmann::json heal_what_is_left(Session& session, const model::Checkpoint& checkpoint) {
    session.log().info("resume: {} is whole already", unhealed());
    Evaluation evaluation(session, checkpoint, common_.held_type(), "--evaluate", evaluation_,
                          options_.calibration.texts);
    const Healed healed = heal_compressed(session);
    const std::vector<TextScore> scores = evaluation.score(output_);
    if (!session.world().is_root()) return {};
    nlohmann::json results = {{"archive", output_}, {"heal", report_healed(healed, healing_, output_)}};
    print_scores(scores);
    results["evaluation"] = describe(scores);
    return results;
  }

  /// Trains what was compressed, on the calibration text.
  Healed heal_compressed(Session& session) {
    healing_.texts = options_.calibration.texts;
    healing_.text_option = "--calibration";
    healing_.resume = resume_;
    Healed healed;
    {
      const ModelFiles files(session, model_, unhealed());
      try {
        healed = heal(session, files, healing_, output_);
      } catch (const Error& error) {
        fail("{}; what was compressed is kept in {}, the same command with --resume trains it", error.what(),
             unhealed());
      }
    }
    session.world().barrier();
    if (session.world().is_root()) std::filesystem::remove(unhealed());
    return healed;
  }

  ModelFiles open_model(const Session& session) {
    validate(!model_.empty() || !shape_.empty(), "compress needs a model: give MODEL, or --shape for random weights");
    if (shape_.empty()) return {session, model_, ""};
    validate(options_.calibration.texts.empty(),
             "--shape takes no --calibration (random weights come without a tokenizer); leave it out");
    auto checkpoint = std::make_unique<model::RandomCheckpoint>(shape_, layers_,
                                                                static_cast<std::uint64_t>(options_.calibration.seed));
    if (!options_.calibration.is_plain()) options_.calibration.random_ids = checkpoint->config().vocab_size;
    return ModelFiles(std::move(checkpoint));
  }

  /// A smaller archive of one that keeps vectors.
  nlohmann::json run_on_archive(const Session& session) {
    const svd::FactorArchive vectors(model_);
    // Only a factorization could heed the others.
    const std::set<std::string> heeded = {"--MODEL", "--output", "--factor-type", "--storage", "--help"};
    std::vector<std::string> others = {"--target-loss", "--max-rank", "--codec"};
    for (const CLI::Option* option : app_.get_options()) {
      const std::string name = "--" + option->get_single_name();
      if (!is_common(*option) && heeded.count(name) == 0) others.push_back(name);
    }
    refuse(others, "an archive in place of MODEL", "that was decided when it was made");
    options_ = selection_options(vectors, options_);
    const Compressed compressed = compress_archive(session, vectors, options_, output_);
    if (!session.world().is_root()) return {};
    return answer(session, nullptr, compressed, {});
  }

  /// An Error where one of these options is given.
  void refuse(const std::vector<std::string>& names, const std::string& beside, const std::string& reason) const {
    for (const std::string& name : names) {
      validate(app_.get_option(name)->count() == 0, "{} does not go with {} ({}); leave it out", name, beside, reason);
    }
  }

  /// What all layers of the shape would take, where only the first are there.
  void extrapolate(const model::Checkpoint& checkpoint, const Compressed& compressed, nlohmann::json& results) const {
    const index_t made = checkpoint.config().layers;
    const index_t all = model::published_config(shape_).layers;
    if (made == all) return;
    const double scale = static_cast<double>(all) / static_cast<double>(made);
    fmt::print("  extrapolated from {} to all {} layers of {}, not run: {} and an archive of {}\n", made, all, shape_,
               format_seconds(scale * compressed.seconds),
               format_bytes(scale * static_cast<double>(compressed.total.bytes_factors)));
    results["extrapolated"] = {{"layers", all},
                               {"seconds", scale * compressed.seconds},
                               {"bytes_factors", scale * static_cast<double>(compressed.total.bytes_factors)}};
  }

  /// Time by phase, what ranks waited, memory.
  static void print_cost(const Compressed& compressed) {
    std::string phases;
    for (const auto& [phase, seconds] : compressed.phases) {
      phases += fmt::format("{}{} {}", phases.empty() ? "" : ", ", phase, format_seconds(seconds));
    }
    fmt::print("  {}{}{}\n", format_seconds(compressed.seconds), phases.empty() ? "" : ": ", phases);
    if (!compressed.idle_shares.empty()) {
      const auto [least, most] = std::minmax_element(compressed.idle_shares.begin(), compressed.idle_shares.end());
      fmt::print("  ranks waited for others {:.0f} to {:.0f} % of their time; the slowest is rank {}\n", 100 * *least,
                 100 * *most, least - compressed.idle_shares.begin());
    }
    if (compressed.memory > 0) {
      fmt::print("  at most {} of memory each by the formula", format_bytes(static_cast<double>(compressed.memory)));
      if (compressed.gpu_memory > 0) {
        fmt::print(", {} of a GPU's", format_bytes(static_cast<double>(compressed.gpu_memory)));
      }
      fmt::print("\n");
    }
  }

  static void print_scores(const std::vector<TextScore>& scores) {
    for (const TextScore& score : scores) {
      fmt::print("  {}: perplexity {:.4f}, dense {:.4f}; divergence {:.5f} nats a token, same top token {:.2f} %\n",
                 score.text, score.after, score.before, score.divergence, 100 * score.same_top);
    }
  }

  /// How many matrices are in which codec.
  static std::string codecs_of(const Compressed& compressed) {
    std::map<Codec, int> counts;
    for (const svd::CompressionSummary& matrix : compressed.matrices) {
      if (matrix.codec) ++counts[*matrix.codec];
    }
    std::vector<std::string> parts;
    parts.reserve(counts.size());
    for (const auto& [codec, count] : counts) parts.push_back(fmt::format("{} {}", count, to_string(codec)));
    return fmt::format("{}", fmt::join(parts, ", "));
  }

  /// `checkpoint`: null where it is not known.
  nlohmann::json answer(const Session& session, const model::Checkpoint* checkpoint, const Compressed& compressed,
                        const std::vector<TextScore>& scores) const {
    const svd::CompressionSummary& total = compressed.total;
    const auto factors = static_cast<double>(total.bytes_factors);
    const auto dense = static_cast<double>(total.bytes_dense);
    const Codec type = options_.stored().codec;
    nlohmann::json results = describe(compressed);
    fmt::print("{}: {} matrices, {} tiles ({} dense), ranks {} to {} (mean {:.1f}), relative error {:.4f}\n", output_,
               compressed.matrices.size(), total.tiles, total.dense_tiles, total.min_rank, total.max_rank,
               total.mean_rank, total.relative_error());
    std::string whole;
    if (checkpoint != nullptr) {
      const double model_dense = dense_bytes(*checkpoint, plain_type(type));
      const double model_stored = model_dense - dense + factors;
      whole = fmt::format("; whole model: {} in place of {} ({:.2f} %)", format_bytes(model_stored),
                          format_bytes(model_dense), 100 * model_stored / model_dense);
      results["model_bytes_factored"] = model_stored;
      results["model_bytes_dense"] = model_dense;
      results["model_keep"] = model_stored / model_dense;
    }
    fmt::print("  selected matrices: {} in place of {} ({:.2f} %){}\n", format_bytes(factors), format_bytes(dense),
               100 * total.keep(), whole);
    if (spec_of(type).block > 0) {
      fmt::print("  {:.3f} bits a weight, of 16: {}\n", 16 * total.keep(), codecs_of(compressed));
      results["bits_per_weight"] = 16 * total.keep();
    }
    print_cost(compressed);
    if (!shape_.empty() && checkpoint != nullptr) extrapolate(*checkpoint, compressed, results);
    print_scores(scores);
    if (options_.stored().keeps_vectors()) {
      session.log().info(
          "these are vectors and original values, to choose ranks of: --topk, --keep or --tolerance of "
          "perplexity, generate, sweep, or compress {}",
          output_);
    } else if (total.keep() >= 1) {
      session.log().info("warning: the archive is not smaller than the dense matrices; keep fewer singular values");
    }
    results["archive"] = output_;
    results["evaluation"] = describe(scores);
    results["factor_type"] = to_string(type);
    return results;
  }

  std::string model_, shape_, output_;
  std::optional<long> layers_;
  CompressionOptions options_;
  HealingOptions healing_;
  EvaluationOptions evaluation_;
  bool resume_ = false;
  CLI::Option* topk_ = nullptr;
  CLI::Option* keep_ = nullptr;
  CLI::Option* tolerance_ = nullptr;
  CLI::Option* max_rank_ = nullptr;
  CLI::Option* codec_ = nullptr;
};

}  // namespace

std::unique_ptr<Command> make_compress(CLI::App& app) { return std::make_unique<CompressCommand>(app); }

}  // namespace hack::jobs
