#include "svd/compress.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "jobs/calibration_options.hpp"
#include "jobs/commands.hpp"
#include "jobs/model_files.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"
#include "model/calibration/loss_sensitivity.hpp"
#include "model/names.hpp"
#include "svd/allocation.hpp"

namespace hack::jobs {
namespace {

nlohmann::json describe(const svd::CompressionSummary& summary) {
  return {{"keep", summary.keep()},
          {"bytes_factors", summary.bytes_factors},
          {"bytes_dense", summary.bytes_dense},
          {"relative_error", summary.relative_error()},
          {"tiles", summary.tiles},
          {"dense_tiles", summary.dense_tiles},
          {"rank_min", summary.min_rank},
          {"rank_mean", summary.mean_rank},
          {"rank_max", summary.max_rank}};
}

/// Numbers in `linear_names` of what a list like "gate,up,down" names.
std::vector<std::size_t> select_linears(const std::vector<std::string>& wanted) {
  std::vector<std::size_t> linears;
  const bool all = wanted == std::vector<std::string>{"all"};
  for (std::size_t l = 0; l < model::linear_names.size(); ++l) {
    if (all || std::count(wanted.begin(), wanted.end(), model::linear_names[l].short_name) > 0) linears.push_back(l);
  }
  for (const std::string& name : wanted) {
    const bool known = all || std::any_of(model::linear_names.begin(), model::linear_names.end(),
                                          [&](const auto& linear) { return linear.short_name == name; });
    validate(known, "--matrices: unknown matrix '{}' (known: q, k, v, o, gate, up, down; all alone for all of them)",
             name);
  }
  return linears;
}

/// Those of every layer in order.
std::vector<svd::MatrixSource> matrix_sources(const model::Checkpoint& checkpoint,
                                              const std::vector<std::size_t>& linears) {
  std::vector<svd::MatrixSource> sources;
  for (index_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    for (std::size_t linear : linears) {
      const std::string name = model::layer_prefix(layer) + std::string(model::linear_names[linear].path) + ".weight";
      const model::TensorInfo info = checkpoint.info(name);
      sources.push_back(
          {name, info.rows, info.cols, [&checkpoint, name](index_t row, index_t col, MatrixView<float> out) {
             checkpoint.read(name, row, col, out);
           }});
    }
  }
  return sources;
}

/// Every tile the same share of its bytes; no spectra are needed for that.
model::RankChoices even_ranks(const std::vector<svd::MatrixSource>& sources, const svd::CompressOptions& options,
                              const svd::TileFormat& format) {
  model::RankChoices choices;
  for (const svd::MatrixSource& source : sources) {
    const svd::TileGrid grid = options.grid(source.rows, source.cols);
    index_t numbers = 0;
    for (index_t t = 0; t < grid.size(); ++t) numbers += grid.tile(t).full_rank();
    const std::vector<float> sigma(static_cast<std::size_t>(numbers), 1.0f);
    const std::vector<svd::MatrixSpectra> spectra = {{source.name, svd::tile_spectra(grid, sigma), 1.0}};
    choices[source.name] =
        svd::allocate(options.rule.value, spectra, {svd::AllocationMode::even, format}).choices.front();
  }
  return choices;
}

class CompressCommand : public Command {
 public:
  explicit CompressCommand(CLI::App& parent)
      : Command(parent, "compress", "Factorize a model's matrices tile by tile into a factor archive") {
    app_.add_option("MODEL", model_, "Hugging Face directory or .gguf file")->required();
    app_.add_option("--output", output_, "The archive to write (HDF5)")->required();
    app_.add_option("--mode", mode_, "tile, or full: one SVD for each whole matrix")
        ->check(CLI::IsMember({"tile", "full"}))
        ->capture_default_str();
    app_.add_option("--tile", tile_, "Rows and columns of a tile")
        ->check(CLI::Range(1L, 1L << 20))
        ->capture_default_str();
    app_.add_option("--matrices", matrices_, "Which ones: a list of q, k, v, o, gate, up, down; or all")
        ->delimiter(',')
        ->capture_default_str();
    auto* rule = app_.add_option_group("rank rule", "How many singular values a tile keeps; one of");
    topk_ = rule->add_option("--topk", rule_value_, "This share of its singular values")->check(CLI::Range(0.0, 1.0));
    keep_ = rule->add_option("--keep", rule_value_, "What a matrix may spend: this share of its dense bytes")
                ->check(CLI::Range(0.0, 1.0));
    tolerance_ =
        rule->add_option("--tolerance", rule_value_, "As few as leave out at most this share of the tile's norm")
            ->check(CLI::NonNegativeNumber);
    rule->require_option(1);
    app_.add_option("--factor-type", factor_type_, "Number type the factors are stored in")
        ->check(CLI::IsMember({"f32", "bf16", "f16", "int8"}))
        ->capture_default_str();
    app_.add_option("--storage", storage_,
                    "pivoted: a tile of rank k as k of its rows and the others' coefficients, k(h + w - k) numbers; "
                    "factors: U and V, k(h + w) numbers")
        ->check(CLI::IsMember({"pivoted", "factors"}))
        ->capture_default_str();
    calibration_.add_to(app_);
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    const ModelFiles files(model_, "");
    const model::Checkpoint& checkpoint = files.checkpoint();
    const svd::CompressOptions options{svd::parse_tile_mode(mode_), tile_, rule(), svd::parse_factor_type(factor_type_),
                                       svd::parse_storage(storage_)};
    validate(session.device() == Device::cpu || session.options().device == "auto",
             "compress runs on the CPU only; use --device cpu");
    const svd::ArchiveHeader header{HACK_VERSION, checkpoint.fingerprint(), nlohmann::json(checkpoint.config()).dump(),
                                    calibration_.method, describe_how(options).dump()};
    const auto start = std::chrono::steady_clock::now();
    nlohmann::json results = calibration_.is_plain() ? run_plain(session, checkpoint, options, header)
                                                     : run_layerwise(session, checkpoint, options, header);
    if (!session.world().is_root()) return {};
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    results["seconds"] = seconds;
    results["tiles_per_second"] = results["tiles"].get<double>() / seconds;
    return results;
  }

 private:
  svd::RankRule rule() const {
    using Kind = svd::RankRule::Kind;
    return {topk_->count() > 0 ? Kind::topk : keep_->count() > 0 ? Kind::keep : Kind::tolerance, rule_value_};
  }

  /// The archive must not depend on how many ranks or threads made it, nor on where its model lay.
  nlohmann::json describe_how(const svd::CompressOptions& options) const {
    nlohmann::json how = {{"method", calibration_.method},
                          {"mode", mode_},
                          {"tile", tile_},
                          {"matrices", matrices_},
                          {std::string(to_string(options.rule.kind)), rule_value_},
                          {"factor-type", factor_type_},
                          {"storage", storage_}};
    if (!calibration_.is_plain()) how.update(calibration_.describe());
    return how;
  }

  nlohmann::json run_plain(Session& session, const model::Checkpoint& checkpoint, const svd::CompressOptions& options,
                           const svd::ArchiveHeader& header) const {
    validate(calibration_.texts.empty(), "--method plain takes no --calibration; leave one of them out");
    const std::vector<svd::MatrixSource> sources = matrix_sources(checkpoint, select_linears(matrices_));
    Queue<Device::cpu> queue(session.threads());
    svd::CompressReport report;
    {
      Progress progress(session.log(), "compress", "tiles");
      report = svd::compress(session.world(), queue, sources, options, header, output_,
                             [&](index_t done, index_t total) { progress.update(done, total); });
    }
    if (!session.world().is_root()) return {};
    nlohmann::json results = answer(session, report.matrices, report.total, options);
    results["seconds_reading"] = report.seconds_reading;
    results["seconds_factorizing"] = report.seconds_factorizing;
    results["seconds_writing"] = report.seconds_writing;
    return results;
  }

  nlohmann::json run_layerwise(Session& session, const model::Checkpoint& checkpoint,
                               const svd::CompressOptions& options, const svd::ArchiveHeader& header) const {
    model::LayerwiseOptions layerwise{.storage = options,
                                      .linears = select_linears(matrices_),
                                      .type = common_.chosen_dtype(checkpoint.exact_type())};
    calibration_.apply_to(layerwise);
    Queue<Device::cpu> queue(session.threads());
    const model::TokenWindows windows = calibration_.read_windows(session.world(), checkpoint, 0, calibration_.windows);
    const model::RankChoices choices = allocate_ranks(session, checkpoint, layerwise, queue);
    model::LayerwiseReport report;
    {
      Progress progress(session.log(), "compress", "layers");
      report = model::compress_layerwise(session.world(), queue, checkpoint, windows, layerwise, choices, header,
                                         output_, [&](index_t done, index_t total) { progress.update(done, total); });
    }
    if (!session.world().is_root()) return {};
    nlohmann::json results = answer(session, report.matrices, report.total, options);
    results["calibration_tokens"] = windows.ids.size();
    double energy = 0, error = 0;
    for (std::size_t m = 0; m < report.weighted.size(); ++m) {
      const model::WeightedSummary& weighted = report.weighted[m];
      results["matrices"][m]["weighted_relative_error"] = std::sqrt(weighted.error / weighted.energy);
      results["matrices"][m]["weighted_relative_error_predicted"] = std::sqrt(weighted.predicted / weighted.energy);
      energy += weighted.energy;
      error += weighted.error;
    }
    std::string phases;
    for (const auto& [phase, seconds] : report.seconds) {
      phases += fmt::format("{}{} {:.1f} s", phases.empty() ? "" : ", ", phase, seconds);
      results["seconds_" + phase] = seconds;
    }
    fmt::print("  {} windows of {} tokens; {}\n", windows.count(), windows.context, phases);
    return results;
  }

  /// Shares a budget out over matrices and tiles; nothing where each matrix gets its own by the rank rule.
  model::RankChoices allocate_ranks(Session& session, const model::Checkpoint& checkpoint,
                                    const model::LayerwiseOptions& layerwise, Queue<Device::cpu>& queue) const {
    if (layerwise.storage.rule.kind != svd::RankRule::Kind::keep || calibration_.allocation == "uniform") return {};
    const svd::TileFormat format{layerwise.storage.storage, layerwise.storage.factor_type, layerwise.align};
    if (calibration_.allocation == "even") {
      return even_ranks(matrix_sources(checkpoint, layerwise.linears), layerwise.storage, format);
    }
    const model::TokenWindows windows = calibration_.read_windows(
        session.world(), checkpoint, 0, std::min(calibration_.windows, calibration_.allocation_windows));
    model::TokenWindows probe = calibration_.read_windows(session.world(), checkpoint, calibration_.windows, 1);
    if (probe.count() == 0) probe = calibration_.read_windows(session.world(), checkpoint, 0, 1);
    probe.context = std::min(probe.context, static_cast<index_t>(calibration_.allocation_tokens));
    probe.ids.resize(static_cast<std::size_t>(probe.context));
    const model::SensitivityOptions options{.storage = layerwise.storage,
                                            .weighting = layerwise.weighting,
                                            .linears = layerwise.linears,
                                            .type = layerwise.type,
                                            .folder = absolute(std::filesystem::path(output_)).parent_path()};
    Progress progress(session.log(), "measure losses", "layers");
    const std::vector<model::MatrixSensitivity> measured =
        model::measure_sensitivities(session.world(), queue, checkpoint, windows, probe, options,
                                     [&](index_t done, index_t total) { progress.update(done, total); });
    std::vector<svd::MatrixSpectra> spectra;
    for (const model::MatrixSensitivity& matrix : measured) {
      spectra.push_back({matrix.name, svd::tile_spectra(matrix.grid, matrix.sigma), matrix.weight()});
    }
    const svd::AllocationOptions global{.format = format, .floor = calibration_.floor};
    svd::Allocation allocation = svd::allocate(layerwise.storage.rule.value, spectra, global);
    model::RankChoices choices;
    for (std::size_t m = 0; m < measured.size(); ++m) choices[measured[m].name] = std::move(allocation.choices[m]);
    return choices;
  }

  nlohmann::json answer(const Session& session, const std::vector<svd::CompressionSummary>& matrices,
                        const svd::CompressionSummary& total, const svd::CompressOptions& options) const {
    const ModelFiles compressed(model_, output_);
    const auto [model_dense, model_stored] = compressed.model_bytes(options.factor_type.unscaled());
    fmt::print("{}: {} matrices, {} tiles ({} dense), ranks {} to {} (mean {:.1f}), relative error {:.4f}\n", output_,
               matrices.size(), total.tiles, total.dense_tiles, total.min_rank, total.max_rank, total.mean_rank,
               total.relative_error());
    fmt::print("  selected matrices: {} in place of {} ({:.2f} %); whole model: {} in place of {} ({:.2f} %)\n",
               format_bytes(static_cast<double>(total.bytes_factors)),
               format_bytes(static_cast<double>(total.bytes_dense)), 100 * total.keep(), format_bytes(model_stored),
               format_bytes(model_dense), 100 * model_stored / model_dense);
    if (options.factor_type == svd::FactorType::int8)
      fmt::print("  against 16-bit numbers, as the whole model is: selected matrices {:.2f} %\n", 50 * total.keep());
    if (total.keep() >= 1)
      session.log().info("warning: the archive is not smaller than the dense matrices; keep fewer singular values");
    nlohmann::json results = describe(total);
    results["archive"] = output_;
    results["model_bytes_factored"] = model_stored;
    results["model_bytes_dense"] = model_dense;
    results["model_keep"] = model_stored / model_dense;
    results["factor_type"] = factor_type_;
    if (options.factor_type == svd::FactorType::int8) results["keep_16_bit"] = total.keep() / 2;
    results["matrices"] = nlohmann::json::array();
    for (const svd::CompressionSummary& matrix : matrices) {
      nlohmann::json entry = describe(matrix);
      entry["name"] = matrix.name;
      results["matrices"].push_back(entry);
    }
    return results;
  }

  std::string model_, output_;
  std::string mode_ = "tile", factor_type_ = "bf16", storage_ = "pivoted";
  long tile_ = 128;
  std::vector<std::string> matrices_ = {"gate", "up", "down"};
  CalibrationOptions calibration_;
  double rule_value_ = 0;
  CLI::Option* topk_ = nullptr;
  CLI::Option* keep_ = nullptr;
  CLI::Option* tolerance_ = nullptr;
};

}  // namespace

std::unique_ptr<Command> make_compress(CLI::App& app) { return std::make_unique<CompressCommand>(app); }

}  // namespace hack::jobs
