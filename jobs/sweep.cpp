#include <cmath>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>

#include "comm/temporary_file.hpp"
#include "jobs/commands.hpp"
#include "jobs/compression.hpp"
#include "jobs/evaluation.hpp"
#include "jobs/method_ladder.hpp"
#include "jobs/model_files.hpp"
#include "jobs/sweep_table.hpp"
#include "kernels/error.hpp"
#include "comm/hash.hpp"

namespace hack::jobs {
namespace {

double parse_share(const std::string& text) {
  std::size_t end = 0;
  double value = -1;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
  }
  validate(end == text.size() && value >= 0 && value <= 1,
           "--keep: '{}' is no share (use numbers from 0 to 1: a comma list, or first:last:step)", text);
  return value;
}

/// Reads "0.5,0.8" or "0.5:0.9:0.1", both ends included.
std::vector<double> parse_shares(const std::string& list) {
  std::vector<double> values;
  const bool is_range = list.find(':') != std::string::npos;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, is_range ? ':' : ',');) values.push_back(parse_share(part));
  validate(!values.empty(), "--keep: an empty list");
  if (!is_range) return values;
  validate(values.size() == 3 && values[2] > 0 && values[0] <= values[1],
           "--keep: '{}' is no range (use first:last:step with first <= last and step > 0)", list);
  const auto steps = static_cast<long>(std::floor((values[1] - values[0]) / values[2] + 1e-6));
  std::vector<double> range;
  // Rounded, so that 0.7 in a range is the 0.7 of a list.
  for (long i = 0; i <= steps; ++i) {
    range.push_back(std::round((values[0] + static_cast<double>(i) * values[2]) * 1e9) / 1e9);
  }
  return range;
}

class SweepCommand : public Command {
 public:
  explicit SweepCommand(CLI::App& parent)
      : Command(parent, "sweep",
                "Compress a model by several methods to several sizes and compare what is left of it") {
    options_.calibration.refine = 100;
    app_.add_option("MODEL", model_, "Hugging Face directory or .gguf file")->required();
    evaluation_.add_to(app_, "--text")->required();
    app_.add_option("--methods", methods_, "Which: a list of " + fmt::format("{}", fmt::join(ladder(), ", ")))
        ->delimiter(',')
        ->default_str("all of them");
    app_.add_option("--keep", keep_, "Budgets: a comma list, or first:last:step")->required();
    app_.add_option("--output", output_, "CSV table; rows that are there already are not made again")->required();
    app_.add_option("--keep-archives", archives_, "Keep the archives in this folder, as METHOD-KEEP.h5");
    options_.add_to(app_);
    // What the methods decide.
    for (const char* name : {"--method", "--storage", "--no-refit", "--sweeps", "--allocation", "--inputs"}) {
      app_.remove_option(app_.get_option(name));
    }
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    const ModelFiles files(model_, "");
    const model::Checkpoint& checkpoint = files.checkpoint();
    const DType type = common_.chosen_dtype(checkpoint.exact_type());
    validate(archives_.empty() || std::filesystem::is_directory(archives_),
             "--keep-archives {}: there is no such folder; make it first", archives_);
    { const comm::TemporaryFile unwritable_places_are_errors_now(output_); }
    const std::vector<Run> runs = plan(checkpoint, type);
    SweepTable table(session.world(), output_, evaluation_.texts);
    std::vector<std::string> ids;
    for (const Run& run : runs) ids.push_back(run.id);
    make_rows(session, checkpoint, type, runs, table);
    if (!session.world().is_root()) return {};
    fmt::print("{}", table.markdown(ids));
    nlohmann::json rows = nlohmann::json::array();
    for (const std::string& id : ids) {
      const SweepRow& row = *table.find(id);
      rows.push_back({{"method", row.method},
                      {"keep", row.keep},
                      {"bytes_factors", row.bytes_stored},
                      {"bytes_dense", row.bytes_dense},
                      {"seconds", row.seconds},
                      {"evaluation", describe(row.scores)}});
    }
    return {{"rows", rows}};
  }

 private:
  /// A row to be made; the dense model's has no options.
  struct Run {
    std::string method;
    double keep;
    std::optional<CompressionOptions> options;
    std::string id;
  };

  /// The dense model, then method by method. All options are checked before anything is done.
  std::vector<Run> plan(const model::Checkpoint& checkpoint, DType type) const {
    const std::string fingerprint = checkpoint.fingerprint();
    const auto id_of = [&](const std::string& how) {
      comm::Hash hash;
      hash.add(fmt::format("{} {} {} {}", fingerprint, to_string(type), evaluation_.windows, how));
      return hash.digits().substr(0, 16);
    };
    std::vector<Run> runs = {{"dense", 1, std::nullopt, id_of(options_.factor_type + " dense")}};
    const std::vector<double> shares = parse_shares(keep_);
    for (const std::string& method : methods_) {
      for (const double keep : shares) {
        CompressionOptions options = at_rung(options_, method);
        options.rule = {svd::RankRule::Kind::keep, keep};
        options.check();
        runs.push_back({method, keep, options, id_of(method + options.describe().dump())});
      }
    }
    return runs;
  }

  void make_rows(const Session& session, const model::Checkpoint& checkpoint, DType type, const std::vector<Run>& runs,
                 SweepTable& table) {
    const bool all_there =
        std::all_of(runs.begin(), runs.end(), [&](const Run& run) { return table.find(run.id) != nullptr; });
    if (all_there) return;
    Compressor compressor(session, checkpoint, type);
    Evaluation evaluation(session, checkpoint, type, "--text", evaluation_, options_.calibration.texts);
    for (const Run& run : runs) {
      if (table.find(run.id) != nullptr) continue;
      if (!run.options) {
        const auto bytes = static_cast<double>(compressor.bytes_dense(options_));
        table.append({run.method, 1, run.id, bytes, bytes, 0, evaluation.dense()});
        continue;
      }
      session.log().info("{} at {}", run.method, run.keep);
      // Beside the output, and gone when this ends, however it ends.
      const comm::TemporaryFile temporary(output_ + ".archive");
      const std::filesystem::path archive =
          archives_.empty() ? temporary.path()
                            : std::filesystem::path(archives_) / fmt::format("{}-{}.h5", run.method, run.keep);
      const Compressed made = compressor.run(*run.options, archive);
      table.append({run.method, run.keep, run.id, static_cast<double>(made.total.bytes_factors),
                    static_cast<double>(made.total.bytes_dense), made.seconds, evaluation.score(archive)});
      session.world().barrier();  // all have closed the archive before one removes it
    }
  }

  std::string model_, keep_, output_, archives_;
  std::vector<std::string> methods_ = ladder();
  CompressionOptions options_;
  EvaluationOptions evaluation_;
};

}  // namespace

std::unique_ptr<Command> make_sweep(CLI::App& app) { return std::make_unique<SweepCommand>(app); }

}  // namespace hack::jobs
