#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "io/hash.hpp"
#include "io/temporary_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/compression.hpp"
#include "jobs/compression/evaluation.hpp"
#include "jobs/compression/method_ladder.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/selection.hpp"
#include "jobs/compression/sweep_table.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/near_miss.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/output_claim.hpp"
#include "jobs/session/parse_number.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {
namespace {

double parse_share(const std::string& option, std::string text) {
  const std::string wrong = number(0, 1)(text);
  validate(wrong.empty(), "--{}: {} (it takes a comma list, or first:last:step)", option, wrong);
  return *parse_number<double>(text);
}

/// first, first + step, … up to last, rounded, so that 0.7 in a range is the 0.7 of a list.
std::vector<double> expand(const std::string& option, const std::string& list, const std::vector<double>& range) {
  constexpr double most_steps = 10000;
  validate(range.size() == 3 && range[2] > 0 && range[0] <= range[1] && (range[1] - range[0]) / range[2] <= most_steps,
           "--{}: '{}' is no range (use first:last:step with first <= last and step > 0)", option, shortened(list));
  const auto steps = static_cast<long>(std::floor((range[1] - range[0]) / range[2] + 1e-6));
  std::vector<double> values;
  for (long i = 0; i <= steps; ++i) {
    values.push_back(std::round((range[0] + static_cast<double>(i) * range[2]) * 1e9) / 1e9);
  }
  return values;
}

/// Reads "0.5,0.8" or "0.5:0.9:0.1", both ends included. A budget of nothing is none.
std::vector<double> parse_shares(const std::string& option, const std::string& list) {
  std::vector<double> values;
  const bool is_range = list.find(':') != std::string::npos;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, is_range ? ':' : ',');) {
    values.push_back(parse_share(option, part));
  }
  validate(!values.empty(), "--{}: an empty list", option);
  if (is_range) values = expand(option, list, values);
  validate(option != "keep" || std::count(values.begin(), values.end(), 0.0) == 0,
           "--keep: '{}' has a budget of 0, which keeps nothing; begin above it", shortened(list));
  return values;
}

/// Kept vectors of a model, of which the archives of all ranks are slices: the vectors of --archive, or vectors made at
/// the first call, beside `output`, and removed by the destructor.
class KeptVectors {
 public:
  KeptVectors(const Session& session, Compressor& compressor, const svd::FactorArchive* given, std::string output)
      : session_(session), compressor_(compressor), given_(given), output_(std::move(output)) {}
  ~KeptVectors() {
    // All ranks close the file before one removes it; where an exception ends the run, no rank waits.
    made_.reset();
    if (temporary_ && std::uncaught_exceptions() == exceptions_) session_.world().barrier();
  }
  KeptVectors(const KeptVectors&) = delete;
  KeptVectors& operator=(const KeptVectors&) = delete;

  /// At least `rank` vectors of every tile, as far as it has them, and all that later calls ask for.
  const svd::FactorArchive& of(CompressionOptions options, index_t rank) {
    if (given_ != nullptr) return *given_;
    if (made_) return *made_;
    temporary_.emplace(output_ + ".vectors");
    options.rule = {svd::RankRule::Kind::max_rank, static_cast<double>(rank)};
    seconds_ = compressor_.run(options, temporary_->path()).seconds;
    made_.emplace(temporary_->path());
    return *made_;
  }

  bool is_made() const { return made_.has_value(); }
  double seconds() const { return seconds_; }

 private:
  const Session& session_;
  Compressor& compressor_;
  const svd::FactorArchive* given_;
  std::string output_;
  std::optional<io::TemporaryFile> temporary_;
  std::optional<svd::FactorArchive> made_;
  double seconds_ = 0;
  int exceptions_ = std::uncaught_exceptions();
};

class SweepCommand : public Command {
 public:
  explicit SweepCommand(CLI::App& parent)
      : Command(parent, "sweep",
                "Compress a model by several methods to several sizes and compare what is left of it") {
    options_.calibration.refine = 100;
    app_.add_option("MODEL", model_, "Hugging Face directory or .gguf file")->required()->type_name(input_type);
    app_.add_option("--archive", archive_,
                    "Take the vectors of the plain methods from this archive, made with --max-rank; without it the "
                    "model is factorized once for all their rows")
        ->type_name(input_type);
    evaluation_.add_to(app_, "--text")->required();
    methods_option_ =
        app_.add_option("--methods", methods_,
                        fmt::format("Which: a list of {}; and codecs, which have one size each: q4_0, all tiles in it, "
                                    "fitted to the text; q4_0-plain, rounded without one, as most GGUF files are",
                                    fmt::join(ladder(), ", ")))
            ->delimiter(',')
            ->default_str("all of them; without --calibration plain");
    auto* rule = app_.add_option_group("rank rule", "One of");
    keep_option_ = rule->add_option("--keep", keep_, "Budgets: a comma list, or first:last:step");
    rule->add_option("--topk", topk_, "Shares of each tile's singular values: a comma list, or first:last:step");
    rule->require_option(1);
    app_.add_option("--output", output_, "CSV table; rows that its FILE.records holds already are not made again")
        ->required()
        ->type_name(output_type);
    app_.add_option("--keep-archives", archives_, "Keep the archives in this folder, as METHOD-SHARE.h5")
        ->type_name("FOLDER");
    options_.add_to(app_);
    // Options that the methods decide.
    for (const char* name :
         {"--method", "--storage", "--no-refit", "--sweeps", "--allocation", "--inputs", "--terms"}) {
      app_.remove_option(app_.get_option(name));
    }
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    const ModelFiles files(session, model_, archive_);
    files.checkpoint().share_fingerprint(session.world(), session.threads());
    kind_ = keep_option_->count() > 0 ? svd::RankRule::Kind::keep : svd::RankRule::Kind::topk;
    if (methods_option_->count() == 0 && (options_.calibration.texts.empty() || !archive_.empty()))
      methods_ = {"plain"};
    if (kind_ == svd::RankRule::Kind::topk) {
      validate(methods_option_->count() == 0 || std::count(methods_.begin(), methods_.end(), "quantized") == 0,
               "--methods quantized takes --keep: codecs have no singular values (given: --topk)");
      std::erase(methods_, "quantized");
    }
    const model::HeldType type = common_.held_type();
    validate(archives_.empty() || std::filesystem::is_directory(archives_),
             "--keep-archives {}: there is no such folder; make it first", archives_);
    for_option("--output", [&] { io::place_of(output_); });
    const comm::OutputClaim claim = claim_output(session, "--output", output_);
    const std::vector<Run> runs = plan(files, type);
    SweepTable table(session.world(), output_, std::string(to_string(kind_)), evaluation_.texts);
    std::vector<std::string> ids;
    for (const Run& run : runs) ids.push_back(run.id);
    nlohmann::json results = make_rows(session, files, type, runs, table);
    if (!session.world().is_root()) return {};
    fmt::print("{}", table.markdown(ids));
    nlohmann::json rows = nlohmann::json::array();
    for (const std::string& id : ids) {
      const SweepRow& row = *table.find(id);
      rows.push_back({{"method", row.method},
                      {to_string(kind_), row.value},
                      {"bytes_factors", row.bytes_stored},
                      {"bytes_dense", row.bytes_dense},
                      {"seconds", row.seconds},
                      {"evaluation", describe(row.scores)}});
    }
    results["rows"] = rows;
    return results;
  }

 private:
  /// A row to be made; the dense model's has no options.
  struct Run {
    std::string method;
    double value;  ///< of the rank rule
    std::optional<CompressionOptions> options;
    std::string id;

    bool is_sliced() const { return options && options->calibration.is_plain() && !options->quantizes(); }
  };

  /// The dense model, then method by method. All options are checked before anything is done.
  std::vector<Run> plan(const ModelFiles& files, model::HeldType type) const {
    const std::string fingerprint = files.checkpoint().fingerprint();
    const auto id_of = [&](const std::string& how) {
      io::Hash hash;
      hash.add(fmt::format("{} {} {} {}", fingerprint, model::name_of(type), evaluation_.windows, how));
      return hash.digits().substr(0, 16);
    };
    std::vector<Run> runs = {{"dense", 1, std::nullopt, id_of(options_.codec + " dense")}};
    const auto add = [&](const std::string& method, double share, const CompressionOptions& options) {
      options.check();
      runs.push_back({method, share, options, id_of(method + options.describe().dump())});
      if (archives_.empty()) return;
      for (const std::string& input : {model_, archive_}) {
        refuse_input("--keep-archives " + archives_, kept_archive(runs.back()), input);
      }
    };
    const bool is_keep = kind_ == svd::RankRule::Kind::keep;
    const std::vector<double> shares = parse_shares(std::string(to_string(kind_)), is_keep ? keep_ : topk_);
    for (const std::string& method : methods_) {
      if (codec_method(method)) {  // its size is its own, whatever the shares
        validate(files.archive() == nullptr,
                 "--archive {}: method {} makes codes of the model's own numbers; leave it out", archive_, method);
        const CompressionOptions options = at_rung(options_, method);
        add(method, options.bits() / 16, options);
        continue;
      }
      for (const double share : shares) {
        CompressionOptions options = at_rung(options_, method);
        if (files.archive() != nullptr) {
          validate(options.calibration.is_plain(),
                   "--archive {}: method {} fits its factors to their ranks, they are no slices of kept vectors; give "
                   "--methods plain, plain-factors or both",
                   archive_, method);
          options = selection_options(*files.archive(), options);
        }
        options.rule = {kind_, share};
        options.settle_terms();
        add(method, share, options);
      }
    }
    return runs;
  }

  /// Vectors that the rows to be sliced take at most.
  index_t rank_of(const Compressor& compressor, const std::vector<Run>& runs) const {
    const index_t full = compressor.largest_rank(options_);
    if (kind_ == svd::RankRule::Kind::keep) return full;
    index_t rank = 1;
    for (const Run& run : runs) {
      // A full rank is the tile itself and needs no vectors.
      const index_t k = svd::rank_of_topk(run.value, full);
      if (run.is_sliced() && k < full) rank = std::max(rank, k);
    }
    return rank;
  }

  nlohmann::json make_rows(Session& session, const ModelFiles& files, model::HeldType type,
                           const std::vector<Run>& runs, SweepTable& table) {
    nlohmann::json done = {{"factorizations", 0}};
    const bool all_there =
        std::all_of(runs.begin(), runs.end(), [&](const Run& run) { return table.find(run.id) != nullptr; });
    if (all_there) return done;
    const model::Checkpoint& checkpoint = files.checkpoint();
    Compressor compressor(session, checkpoint, type.value_or(checkpoint.exact_type()));
    Evaluation evaluation(session, checkpoint, type, "--text", evaluation_, options_.calibration.texts);
    KeptVectors vectors(session, compressor, files.archive(), output_);
    for (const Run& run : runs) {
      if (table.find(run.id) != nullptr) continue;
      if (!run.options) {
        const auto bytes = static_cast<double>(compressor.bytes_dense(options_));
        table.append({run.method, 1, run.id, bytes, bytes, 0, evaluation.dense()});
        continue;
      }
      session.log().info("{} at {}", run.method, run.value);
      std::optional<comm::OutputClaim> kept;
      if (!archives_.empty()) kept.emplace(claim_output(session, "--keep-archives", kept_archive(run)));
      if (run.is_sliced()) {
        table.append(sliced(session, vectors.of(*run.options, rank_of(compressor, runs)), run, evaluation));
        continue;
      }
      // Beside the output, and gone when this ends, however it ends.
      const io::TemporaryFile temporary(output_ + ".archive");
      const std::filesystem::path archive = archives_.empty() ? temporary.path() : kept_archive(run);
      const Compressed made = compressor.run(*run.options, archive);
      done["factorizations"] = done["factorizations"].get<int>() + 1;
      table.append({run.method, run.value, run.id, static_cast<double>(made.total.bytes_factors),
                    static_cast<double>(made.total.bytes_dense), made.seconds, evaluation.score(archive)});
      session.world().barrier();  // all have closed the archive before one removes it
    }
    if (vectors.is_made()) {
      done["factorizations"] = done["factorizations"].get<int>() + 1;
      done["seconds_factorizing_once"] = vectors.seconds();
    }
    return done;
  }

  /// The row of a model whose factors are slices of the vectors. Its seconds are the time of choosing the ranks.
  SweepRow sliced(const Session& session, const svd::FactorArchive& vectors, const Run& run, Evaluation& evaluation) {
    const Stopwatch watch;
    const svd::CompressOptions stored = run.options->stored();
    const svd::SelectedFactors factors = choosing_ranks([&] {
      return svd::SelectedFactors(vectors, stored.rule, {stored.storage, stored.codec}, session.threads());
    });
    const double seconds = watch.seconds();
    if (!archives_.empty()) compress_archive(session, vectors, *run.options, kept_archive(run));
    std::vector<svd::CompressionSummary> matrices;
    for (const std::string& name : factors.matrices()) matrices.push_back(factors.summary(name));
    const svd::CompressionSummary total = svd::total_of(matrices);
    return {run.method,
            run.value,
            run.id,
            static_cast<double>(total.bytes_factors),
            static_cast<double>(total.bytes_dense),
            seconds,
            evaluation.score(factors)};
  }

  std::filesystem::path kept_archive(const Run& run) const {
    return std::filesystem::path(archives_) / fmt::format("{}-{}.h5", run.method, run.value);
  }

  std::string model_, archive_, keep_, topk_, output_, archives_;
  svd::RankRule::Kind kind_ = svd::RankRule::Kind::keep;
  std::vector<std::string> methods_ = ladder();
  CompressionOptions options_;
  EvaluationOptions evaluation_;
  CLI::Option* methods_option_ = nullptr;
  CLI::Option* keep_option_ = nullptr;
};

}  // namespace

std::unique_ptr<Command> make_sweep(CLI::App& app) { return std::make_unique<SweepCommand>(app); }

}  // namespace hack::jobs
