#include "jobs/compression/compression.hpp"

#include <algorithm>
#include <cmath>

#include "io/last_words.hpp"
#include "io/temporary_file.hpp"
#include "jobs/compression/evaluation.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/calibration/layerwise_fit.hpp"
#include "model/calibration/text_sketch.hpp"
#include "model/llama/names.hpp"
#include "svd/choose/codec_choice.hpp"
#include "svd/pipeline/compress.hpp"
#include "svd/pipeline/plain_fit.hpp"
#include "svd/tile/storage.hpp"

namespace hack::jobs {
namespace {

/// What a rank takes beside matrices, by measurement: the program, MPI and HDF5, and what the allocator keeps.
constexpr index_t program_bytes = 112 << 20;

/// Every tile the same share of its bytes; no spectra are needed for that.
model::RankChoices even_ranks(const std::vector<svd::MatrixSource>& sources, const CompressionOptions& options) {
  const svd::CompressOptions stored = options.stored();
  const svd::AllocationOptions even{svd::AllocationMode::even, stored.format(options.calibration.align)};
  model::RankChoices choices;
  for (const svd::MatrixSource& source : sources) {
    const svd::TileGrid grid = stored.grid(source.rows, source.cols);
    index_t numbers = 0;
    for (index_t t = 0; t < grid.size(); ++t) numbers += grid.tile(t).full_rank();
    const std::vector<float> sigma(static_cast<std::size_t>(numbers), 1.0f);
    const std::vector<svd::MatrixSpectra> spectra = {{source.name, svd::tile_spectra(grid, sigma), 1.0}};
    choices[source.name] = svd::allocate(options.rule.value, spectra, even).choices.front();
  }
  return choices;
}

/// What a matrix takes in an archive as dense terms in this codec.
index_t bytes_in(Codec codec, const svd::TileGrid& grid) {
  index_t bytes = 0;
  for (index_t t = 0; t < grid.size(); ++t) {
    const svd::Tile tile = grid.tile(t);
    bytes += svd::stored_bytes(kernels::Structure::dense, tile.height, tile.width, tile.full_rank(), codec);
  }
  return bytes;
}

/// Of what is compressed how: a journal of other text, ranks or codecs is no beginning of this run.
io::Hash hash_of(const model::TokenWindows& windows, const model::RankChoices& ranks,
                 const std::map<std::string, Codec>& codecs) {
  io::Hash hash;
  hash.add(windows.context);
  hash.add(std::as_bytes(std::span(windows.ids)));
  for (const auto& [name, choices] : ranks) {
    hash.add(name);
    for (const svd::TileChoice& choice : choices) {
      hash.add(static_cast<index_t>(choice.kind));
      hash.add(static_cast<index_t>(choice.rank));
    }
  }
  for (const auto& [name, codec] : codecs) {
    hash.add(name);
    hash.add(static_cast<index_t>(codec));
  }
  return hash;
}

/// What an error of a matrix counts where codecs share a budget. A loss measured on one window, with all other matrices
/// as they are, exaggerates differences: by it, a mix can be worse than one codec in all matrices. The root of the
/// loss, by bytes, keeps the order (docs/design-notes/choice.md).
double damped_weight(const model::MatrixSensitivity& measured, const svd::MatrixCodecs::Option& smallest) {
  if (smallest.error <= 0) return 0;
  const double loss = measured.weight() * smallest.error, bytes = static_cast<double>(smallest.bytes);
  return std::sqrt(loss / bytes) * bytes / smallest.error;
}

}  // namespace

Compressor::Compressor(Session& session, const model::Checkpoint& checkpoint, DType type)
    : session_(session), checkpoint_(checkpoint), type_(type), queue_(session.threads()) {
  checkpoint.share_fingerprint(session.world(), session.threads());
}

Compressed Compressor::run(const CompressionOptions& options, const std::filesystem::path& output,
                           FinishedSteps steps) {
  options.check();
  io::place_of(output);  // where it cannot be written, that is an error now
  const Stopwatch watch;
  Plan plan =
      options.calibration.is_plain() ? plan_plain(options) : plan_layerwise(options, absolute(output).parent_path());
  Progress progress(session_.log(), "compress", plan.unit);
  nlohmann::json how = options.describe();
  if (!plan.sketch.empty()) how[sketch_key] = plan.sketch;
  svd::Destination to{
      {HACK_VERSION, checkpoint_.fingerprint(), nlohmann::json(checkpoint_.config()).dump(), options.calibration.method,
       how.dump()},
      output,
      [&](index_t done, index_t total, std::optional<int> slowest) { progress.update(done, total, slowest); }};
  std::unique_ptr<comm::Journal> journal;
  Compressed result;
  try {
    std::optional<io::LastWords> last_words;
    if (steps != FinishedSteps::forgotten) {
      journal = open_journal(to, plan, steps == FinishedSteps::resumed);
      if (session_.world().is_root()) {
        last_words.emplace(
            fmt::format("ended by a signal; what is finished of {0} stands in {0}.parts, the same command with "
                        "--resume goes on after it",
                        output.string()));
      }
    }
    to.journal = journal.get();
    static_cast<svd::CompressReport&>(result) = svd::compress(session_.world(), *plan.fit, to);
  } catch (const svd::MemoryError& error) {
    fail("--memory {}: {}", format_bytes(static_cast<double>(options.memory)), error.what());
  } catch (const comm::ResumeError& error) {
    fail("{}; run it as it was begun, or leave out --resume to begin anew", error.what());
  }
  if (journal) journal->remove();
  result.memory += program_bytes;
  result.predicted_loss = plan.predicted_loss;
  result.seconds = watch.seconds();
  return result;
}

Compressor::Plan Compressor::plan_plain(const CompressionOptions& options) {
  const index_t memory = options.memory;
  validate(memory == 0 || memory > program_bytes, "--memory {} is less than the program itself takes ({})",
           format_bytes(static_cast<double>(memory)), format_bytes(static_cast<double>(program_bytes)));
  Plan plan{.unit = "tiles"};
  if (memory > 0) {  // it decides how matrices are cut into steps
    plan.contents.add(memory);
    plan.contents.add(index_t{queue_.threads()});
  }
  svd::CompressOptions stored = options.stored();
  stored.values_type = checkpoint_.exact_type();
  const auto fit_on = [&]<Device D>(Queue<D>& queue) {
    return std::make_unique<svd::PlainFit<D>>(session_.world(), queue, sources(options), stored,
                                              memory == 0 ? 0 : memory - program_bytes);
  };
  Queue<Device::cuda>* const device = gpu();
  if (device != nullptr) {
    plan.fit = fit_on(*device);
  } else {
    plan.fit = fit_on(queue_);
  }
  return plan;
}

Compressor::Plan Compressor::plan_layerwise(const CompressionOptions& options, const std::filesystem::path& folder) {
  const CalibrationOptions& calibration = options.calibration;
  const model::TokenWindows windows =
      model::cut_windows(tokens(calibration), calibration.context, 0, calibration.windows);
  warn_of_few_tokens(std::ssize(windows.ids));
  Plan plan{.unit = "layers"};
  if (!calibration.texts.empty()) plan.sketch = model::TextSketch(windows.ids, windows.context).digits();
  const Ranks ranks = allocate_ranks(options, folder, plan.predicted_loss);
  model::LayerwiseOptions layerwise = options.layerwise(checkpoint_.config(), type_);
  layerwise.codecs = allocate_codecs(options, folder, plan.predicted_loss);
  plan.contents = hash_of(windows, ranks, layerwise.codecs);
  layerwise.statistics_folder = folder;
  layerwise.gpu = gpu();
  plan.fit = model::make_layerwise_fit(session_.world(), queue_, {checkpoint_, windows}, layerwise, ranks);
  return plan;
}

void Compressor::warn_of_few_tokens(index_t tokens) const {
  const index_t inputs = std::max(checkpoint_.config().hidden_size, checkpoint_.config().intermediate_size);
  if (tokens >= inputs) return;
  session_.log().info(
      "warning: --calibration: {} tokens say little of the {} inputs that a matrix has; give more text, or more "
      "--calibration-windows",
      tokens, inputs);
}

Queue<Device::cuda>* Compressor::gpu() {
  if (session_.device() != Device::cuda) return nullptr;
  session_.take_gpu();
  if (!gpu_) gpu_ = std::make_unique<Queue<Device::cuda>>(session_.threads());
  return gpu_.get();
}

std::unique_ptr<comm::Journal> Compressor::open_journal(const svd::Destination& to, const Plan& plan,
                                                        bool resume) const {
  io::Hash contents = plan.contents;
  for (const std::string& part : {to.header.program_version, to.header.model_fingerprint, to.header.options}) {
    contents.add(part);
  }
  contents.add(std::string(to_string(type_)));
  std::filesystem::path folder = to.output;
  folder += ".parts";
  auto journal = std::make_unique<comm::Journal>(session_.world(), folder, contents.digits(), resume);
  if (journal->steps() > 0) {
    session_.log().info("resume: {} steps are finished already ({})", journal->steps(), folder.string());
  }
  return journal;
}

/// Shares a budget out over matrices and tiles; nothing where each matrix gets its own by the rank rule.
Compressor::Ranks Compressor::allocate_ranks(const CompressionOptions& options, const std::filesystem::path& folder,
                                             double& predicted_loss) {
  const std::string& allocation = options.calibration.allocation;
  if (options.rule.kind != svd::RankRule::Kind::keep || options.quantizes() || allocation == "uniform") return {};
  if (allocation == "even") return even_ranks(sources(options), options);
  const std::vector<model::MatrixSensitivity> measured = sensitivities(options, folder);
  svd::Allocation shares = svd::allocate(options.rule.value, spectra_of(measured), allocation_options(options));
  predicted_loss = shares.predicted_loss;
  Ranks ranks;
  for (std::size_t m = 0; m < measured.size(); ++m) ranks[measured[m].name] = std::move(shares.choices[m]);
  return ranks;
}

std::map<std::string, Codec> Compressor::allocate_codecs(const CompressionOptions& options,
                                                         const std::filesystem::path& folder, double& predicted_loss) {
  const std::vector<Codec> codecs = options.codecs_by_size();
  if (codecs.size() < 2) return {};
  const svd::CompressOptions stored = options.stored();
  std::vector<svd::MatrixCodecs> matrices;
  index_t most = 0;
  for (const svd::MatrixSource& source : sources(options)) {
    svd::MatrixCodecs& matrix = matrices.emplace_back(svd::MatrixCodecs{.name = source.name});
    const svd::TileGrid grid = stored.grid(source.rows, source.cols);
    for (const Codec codec : codecs) matrix.options.push_back({codec, bytes_in(codec, grid), 0.0});
    most += matrix.options.back().bytes;
  }
  const double keep = options.rule.value;
  const auto dense = static_cast<double>(bytes_dense(options));
  const auto share_of = [&](index_t bytes) { return static_cast<double>(bytes) / dense; };
  if (share_of(most) <= keep) {  // nothing to choose
    session_.log().info("--keep {} leaves room for {} in every matrix, which takes {:.3f}", keep,
                        to_string(codecs.back()), share_of(most));
    return {};
  }
  const double least = share_of(svd::least_bytes(matrices));
  validate(least <= keep,
           "--keep {}: the smallest of the codecs takes more; give --keep {:.4f} or more, a smaller codec, or --terms "
           "lowrank",
           keep, std::ceil(1e4 * least) / 1e4);
  const std::vector<model::MatrixSensitivity> measured = sensitivities(options, folder);
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    for (std::size_t c = 0; c < codecs.size(); ++c) matrices[m].options[c].error = measured[m].codec_errors[c];
    matrices[m].weight = damped_weight(measured[m], matrices[m].options.front());
  }
  const svd::CodecChoice choice = svd::choose_codecs(static_cast<index_t>(keep * dense), matrices);
  std::map<std::string, Codec> chosen;
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    chosen[matrices[m].name] = choice.codecs[m];
    const auto place = std::find(codecs.begin(), codecs.end(), choice.codecs[m]) - codecs.begin();
    predicted_loss += measured[m].weight() * measured[m].codec_errors[static_cast<std::size_t>(place)];
  }
  return chosen;
}

std::vector<model::MatrixSensitivity> Compressor::sensitivities(const CompressionOptions& options,
                                                                const std::filesystem::path& folder) {
  const CalibrationOptions& calibration = options.calibration;
  const model::TokenWindows windows = model::cut_windows(tokens(calibration), calibration.context, 0,
                                                         std::min(calibration.windows, calibration.allocation_windows));
  const model::LayerwiseOptions layerwise = options.layerwise(checkpoint_.config(), type_);
  const model::SensitivityOptions how{.storage = layerwise.storage,
                                      .weighting = layerwise.weighting,
                                      .linears = layerwise.linears,
                                      .head = layerwise.head,
                                      .token_power = layerwise.token_power,
                                      .codecs = options.codecs_by_size(),
                                      .type = type_,
                                      .gpu = gpu(),
                                      .folder = folder};
  Progress progress(session_.log(), "measure losses", "layers");
  return model::measure_sensitivities(session_.world(), queue_, {checkpoint_, windows}, probe(options), how,
                                      [&](index_t done, index_t total) { progress.update(done, total); });
}

model::TokenWindows Compressor::probe(const CompressionOptions& options) {
  const CalibrationOptions& calibration = options.calibration;
  const std::vector<int>& ids = tokens(calibration);
  const index_t last = std::ssize(ids) / calibration.context - 1;
  model::TokenWindows probe = model::cut_windows(ids, calibration.context, std::max<index_t>(last, 0), 1);
  probe.context = std::min<index_t>(probe.context, calibration.allocation_tokens);
  probe.ids.resize(static_cast<std::size_t>(probe.context));
  return probe;
}

index_t Compressor::largest_rank(const CompressionOptions& options) const {
  index_t rank = 0;
  for (const svd::MatrixSource& source : sources(options)) {
    rank = std::max(rank, options.stored().grid(source.rows, source.cols).max_rank());
  }
  return rank;
}

index_t Compressor::bytes_dense(const CompressionOptions& options) const {
  index_t bytes = 0;
  for (const svd::MatrixSource& source : sources(options)) {
    bytes += svd::dense_bytes(source.rows, source.cols, options.stored().codec);
  }
  return bytes;
}

/// The selected matrices in the order of archives.
std::vector<svd::MatrixSource> Compressor::sources(const CompressionOptions& options) const {
  const model::LlamaConfig& config = checkpoint_.config();
  std::vector<svd::MatrixSource> sources;
  for (const std::string& name : model::weight_names(config, options.linears(), options.takes_head(config))) {
    const model::TensorInfo info = checkpoint_.info(name);
    sources.push_back({name, info.rows, info.cols, [this, name](index_t row, index_t col, MatrixView<float> out) {
                         checkpoint_.read(name, row, col, out);
                       }});
  }
  return sources;
}

const std::vector<int>& Compressor::tokens(const CalibrationOptions& options) {
  if (tokens_.empty() || texts_ != options.texts) {
    tokens_ = options.read_tokens(session_.world(), checkpoint_);
    texts_ = options.texts;
  }
  return tokens_;
}

std::vector<svd::MatrixSpectra> spectra_of(const std::vector<model::MatrixSensitivity>& measured) {
  std::vector<svd::MatrixSpectra> spectra;
  for (const model::MatrixSensitivity& matrix : measured) {
    spectra.push_back({matrix.name, svd::tile_spectra(matrix.grid, matrix.sigma), matrix.weight()});
  }
  return spectra;
}

svd::AllocationOptions allocation_options(const CompressionOptions& options) {
  return {.format = options.stored().format(options.calibration.align), .floor = options.calibration.floor};
}

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

nlohmann::json describe(const Compressed& compressed) {
  nlohmann::json results = describe(compressed.total);
  results["seconds"] = compressed.seconds;
  results["tiles_per_second"] = static_cast<double>(compressed.total.tiles) / compressed.seconds;
  for (const auto& [phase, seconds] : compressed.phases) results["seconds_" + phase] = seconds;
  if (!compressed.idle_shares.empty()) results["idle_shares"] = compressed.idle_shares;
  if (compressed.memory > 0) results["memory_bound_bytes"] = compressed.memory;
  if (compressed.gpu_memory > 0) results["gpu_memory_bound_bytes"] = compressed.gpu_memory;
  results["matrices"] = nlohmann::json::array();
  for (std::size_t m = 0; m < compressed.matrices.size(); ++m) {
    nlohmann::json entry = describe(compressed.matrices[m]);
    entry["name"] = compressed.matrices[m].name;
    if (compressed.matrices[m].codec) entry["codec"] = to_string(*compressed.matrices[m].codec);
    if (m < compressed.weighted.size()) {
      const svd::WeightedSummary& weighted = compressed.weighted[m];
      entry["weighted_relative_error"] = std::sqrt(weighted.error / weighted.energy);
      entry["weighted_relative_error_predicted"] = std::sqrt(weighted.predicted / weighted.energy);
    }
    results["matrices"].push_back(std::move(entry));
  }
  for (const svd::RefineReport& layer : compressed.refined) {
    results["refined"].push_back(
        {{"loss_before", layer.loss_before}, {"loss_after", layer.loss_after}, {"best_step", layer.best_step}});
  }
  return results;
}

}  // namespace hack::jobs
