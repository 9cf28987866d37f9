#include "model/calibration/loss_sensitivity.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/collectives.hpp"
#include "kernels/copy.hpp"
#include "kernels/divergence.hpp"
#include "kernels/error.hpp"
#include "model/calibration/layerwise_pass.hpp"
#include "model/calibration/sensitivity_file.hpp"
#include "io/hash.hpp"
#include "model/llama/names.hpp"
#include "svd/choose/allocation.hpp"
#include "svd/fit/weighted_error.hpp"
#include "svd/pipeline/layer_codes.hpp"
#include "svd/pipeline/layer_factors.hpp"

namespace hack::model {
namespace {

using svd::TiledMatrix;

template <Device D>
Buffer<float, D> copy_of(Queue<D>& queue, MatrixView<const float, D> x) {
  Buffer<float, D> out(x.rows * x.cols);
  kernels::copy<D>(queue, x, MatrixView<float, D>(out.data(), x.rows, x.cols));
  return out;
}

template <Device D>
WeightMatrix<D> weights_of(const Buffer<float>& values, const svd::TileGrid& grid) {
  WeightMatrix<D> weights(grid.rows(), grid.cols(), DType::f32);
  kernels::copy_from_host<D>(weights.data(), values.data(), static_cast<std::size_t>(values.bytes()));
  return weights;
}

/// More sweeps change how much a matrix loses, hardly which one loses more.
svd::WeightingOptions probe_weighting(const SensitivityOptions& options) {
  svd::WeightingOptions weighting = options.weighting;
  weighting.sweeps = std::min(weighting.sweeps, 1);
  return weighting;
}

/// Layers run on D; `queue` is the host's.
template <Device D>
class SensitivityProbe {
 public:
  SensitivityProbe(const comm::Communicator& comm, Queue<Device::cpu>& queue, Queue<D>& device,
                   const CalibrationText& text, const TokenWindows& probe, const SensitivityOptions& options)
      : comm_(comm),
        queue_(queue),
        device_(device),
        checkpoint_(text.checkpoint),
        options_(options),
        weighting_(probe_weighting(options)),
        self_(comm::Communicator::self()),
        pass_(comm, device, text, {options.type, false, options.token_power}),
        probe_(text.checkpoint, options.type, device, probe, self_) {
    HACK_EXPECT(probe.count() == 1 && probe.context <= text.windows.context);
  }

  void probe_layer(index_t layer) {
    pass_.load(layer);
    LlamaLayer<D> other = pass_.read_layer(layer);
    std::vector<Buffer<float, D>> begun;  // variants that leave the dense model in this layer
    for (const LinearInput input :
         {LinearInput::attention, LinearInput::attention_output, LinearInput::mlp, LinearInput::inner}) {
      if (input == LinearInput::mlp) pass_.advance_attention();
      probe_inputs(layer, input, other, begun);
    }
    pass_.advance_mlp();
    for (Buffer<float, D>& variant : variants_) pass_.run(pass_.layer(), view_of(variant));
    for (Buffer<float, D>& variant : begun) variants_.push_back(std::move(variant));
    pass_.run(pass_.layer(), probe_.window(0));
  }

  std::vector<MatrixSensitivity> finish() {
    pass_.load_head();
    pass_.run_final_norm(probe_.window(0));
    std::vector<double> mine = own_divergences();
    if (options_.head) probe_head(mine);
    // Ranks hold every P-th matrix: the gathered parts follow each other by rank.
    const std::vector<double> all = comm::all_gather(comm_, std::span<const double>(mine));
    std::size_t next = 0;
    for (int rank = 0; rank < comm_.size(); ++rank) {
      for (std::size_t m = static_cast<std::size_t>(rank); m < results_.size();
           m += static_cast<std::size_t>(comm_.size())) {
        results_[m].divergence = all[next++];
      }
    }
    return std::move(results_);
  }

 private:
  MatrixView<float, D> view_of(Buffer<float, D>& x) const { return {x.data(), probe_.context(), probe_.hidden()}; }

  void probe_inputs(index_t layer, LinearInput input, LlamaLayer<D>& other, std::vector<Buffer<float, D>>& begun) {
    std::vector<Linear> linears;
    for (const Linear linear : options_.linears) {
      if (linear_input(linear) == input) linears.push_back(linear);
    }
    if (linears.empty()) return;
    const svd::InputStatistics statistics = pass_.statistics(input, false);
    std::optional<svd::WeightedFactorizer<D>> factorizer;
    for (const Linear linear : linears) {
      TiledMatrix matrix = read(weight_name(layer, linear));
      if (options_.codecs.empty() && !factorizer) {
        factorizer.emplace(device_, statistics.h(), matrix.grid, weighting_);
      }
      const Buffer<float> variant = factorizer ? factorize(*factorizer, matrix) : quantize(statistics.h(), matrix);
      if (!is_mine(results_.size() - 1)) continue;
      begun.push_back(copy_of<D>(device_, probe_.tokens()));
      other[linear].replace(weights_of<D>(variant, matrix.grid));
      pass_.run(other, view_of(begun.back()));
      other[linear].replace(weights_of<D>(matrix.values, matrix.grid));
    }
  }

  TiledMatrix read(const std::string& name) const {
    const TensorInfo info = checkpoint_.info(name);
    TiledMatrix matrix{name, options_.storage.grid(info.rows, info.cols), Buffer<float>(info.rows * info.cols), {}, {}};
    checkpoint_.read(name, 0, 0, {matrix.values.data(), info.rows, info.cols});
    return matrix;
  }

  /// Whether this rank is the one to run a matrix's variant.
  bool is_mine(std::size_t matrix) const { return static_cast<int>(matrix) % comm_.size() == comm_.rank(); }

  /// Measures the matrix as factors; returns what these stand for on the rank that is to run it.
  Buffer<float> factorize(const svd::WeightedFactorizer<D>& factorizer, TiledMatrix& matrix) {
    MatrixSensitivity result{matrix.name, matrix.grid, svd::spectra_together(comm_, device_, factorizer, matrix)};
    const std::vector<svd::MatrixSpectra> spectra = {{matrix.name, svd::tile_spectra(matrix.grid, result.sigma), 1.0}};
    const svd::AllocationOptions even{svd::AllocationMode::even, {options_.storage.storage, options_.storage.codec, 1}};
    matrix.choices = svd::allocate(options_.probe_keep, spectra, even).choices.front();
    for (const svd::TileChoice& choice : matrix.choices) result.discarded += choice.discarded;
    svd::factorize_together(comm_, device_, factorizer, matrix);
    results_.push_back(std::move(result));
    return is_mine(results_.size() - 1) ? svd::rebuild(queue_, matrix) : Buffer<float>();
  }

  /// Measures the matrix in each codec, and returns what the first one's codes stand for. Columns make up for each
  /// other's errors; going over codes again changes how much a matrix loses, hardly which one loses more.
  Buffer<float> quantize(MatrixView<const double> h, TiledMatrix& matrix) {
    MatrixSensitivity result{matrix.name, matrix.grid, {}};
    const svd::Range rows = svd::even_part(matrix.grid.rows(), comm_.size(), comm_.rank());
    Buffer<float> first;
    for (const Codec codec : options_.codecs) {
      const svd::RowQuantizer quantizer(h, matrix.grid, svd::BlockGrid(codec),
                                        {.damping = options_.weighting.damping, .passes = 0});
      svd::LayerCodes codes = svd::quantize_together(comm_, queue_, quantizer, h, matrix);
      const MatrixView<const float> rebuilt(codes.rebuilt.data(), matrix.grid.rows(), matrix.grid.cols());
      const double error =
          svd::weighted_error<Device::cpu>(queue_, matrix.values_view().rows_from(rows.begin, rows.size()),
                                           rebuilt.rows_from(rows.begin, rows.size()), h);
      result.codec_errors.push_back(comm::all_reduce_sum(comm_, error));
      if (first.size() == 0) first = std::move(codes.rebuilt);
    }
    result.discarded = result.codec_errors.front();
    results_.push_back(std::move(result));
    return first;
  }

  /// Adds the head's divergence to those of this rank's variants: the same final states, another head.
  void probe_head(std::vector<double>& divergences) {
    const svd::InputStatistics statistics = pass_.statistics(LinearInput::head, false);
    TiledMatrix matrix = read(head_weights(checkpoint_.config()));
    const Buffer<float> variant = [&] {
      if (!options_.codecs.empty()) return quantize(statistics.h(), matrix);
      const svd::WeightedFactorizer<D> factorizer(device_, statistics.h(), matrix.grid, weighting_);
      return factorize(factorizer, matrix);
    }();
    if (!is_mine(results_.size() - 1)) return;
    const WeightMatrix<D> other = weights_of<D>(variant, matrix.grid);
    const WeightMatrix<D> head = read_head();
    std::vector<double> of_tokens(static_cast<std::size_t>(probe_.context()));
    const MatrixView<const float, D> states = probe_.tokens();
    kernels::divergences<D>(device_, {states, {head.view()}}, {states, {other.view()}}, of_tokens);
    divergences.push_back(mean(of_tokens));
  }

  WeightMatrix<D> read_head() const {
    const LlamaConfig& config = checkpoint_.config();
    return read_weights<D>(checkpoint_, head_weights(config), {0, config.vocab_size}, {0, config.hidden_size},
                           options_.type);
  }

  static double mean(std::span<const double> of_tokens) {
    return std::accumulate(of_tokens.begin(), of_tokens.end(), 0.0) / static_cast<double>(of_tokens.size());
  }

  /// Mean divergences of this rank's variants from the dense model.
  std::vector<double> own_divergences() {
    const index_t tokens = probe_.context();
    const index_t hidden = probe_.hidden();
    const WeightMatrix<D> head = read_head();
    const index_t count = std::ssize(variants_);
    Buffer<float, D> states(count * tokens * hidden);  // (variants, tokens, hidden)
    for (index_t v = 0; v < count; ++v) {
      Buffer<float, D>& variant = variants_[static_cast<std::size_t>(v)];
      pass_.run_final_norm(view_of(variant));
      kernels::copy<D>(device_, MatrixView<const float, D>(variant.data(), tokens, hidden),
                       MatrixView<float, D>(states.data() + v * variant.size(), tokens, hidden));
    }
    std::vector<double> of_tokens(static_cast<std::size_t>(count * tokens));
    const kernels::AffineView<D> same{head.view()};
    kernels::divergences<D>(device_, {probe_.tokens(), same}, {{states.data(), count * tokens, hidden}, same},
                            of_tokens);
    std::vector<double> means;
    for (index_t v = 0; v < count; ++v) {
      means.push_back(
          mean(std::span(of_tokens).subspan(static_cast<std::size_t>(v * tokens), static_cast<std::size_t>(tokens))));
    }
    return means;
  }

  const comm::Communicator& comm_;
  Queue<Device::cpu>& queue_;
  Queue<D>& device_;
  const Checkpoint& checkpoint_;
  const SensitivityOptions& options_;
  svd::WeightingOptions weighting_;
  comm::Communicator self_;
  LayerwisePass<D> pass_;
  ActivationStream<D> probe_;               // one window, the same on every rank
  std::vector<Buffer<float, D>> variants_;  // (own variants) × (tokens, hidden)
  std::vector<MatrixSensitivity> results_;  // of all matrices so far
};

/// What was measured, in words: two measurements with the same key give the same numbers.
std::string key_of(const CalibrationText& text, const TokenWindows& probe, const SensitivityOptions& options) {
  io::Hash ids;
  for (const TokenWindows* part : {&text.windows, &probe}) {
    ids.add(part->context);
    ids.add(std::as_bytes(std::span(part->ids)));
  }
  std::vector<std::string_view> linears;
  for (const Linear linear : options.linears) linears.push_back(to_string(linear));
  std::vector<std::string_view> codecs;
  codecs.reserve(options.codecs.size());
  for (const Codec codec : options.codecs) codecs.push_back(to_string(codec));
  return fmt::format(
      "model {}, text {}, linears {}{}, mode {}, tile {}, storage {}, damping {}, token power {}, sweeps {}, refit {}, "
      "probe keep {}, codecs {}, {}",
      text.checkpoint.fingerprint(), ids.digits(), fmt::join(linears, " "), options.head ? " head" : "",
      to_string(options.storage.mode), to_string(options.storage.tile), svd::storage_name(options.storage.storage),
      options.weighting.damping, options.token_power, probe_weighting(options).sweeps, options.weighting.refit,
      options.probe_keep, fmt::join(codecs, " "), to_string(options.type));
}

}  // namespace

double MatrixSensitivity::weight() const {
  constexpr double least_divergence = 1e-5;
  return discarded > 0 ? std::max(divergence, least_divergence) / discarded : 0.0;
}

std::vector<MatrixSensitivity> measure_sensitivities(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                                                     const CalibrationText& text, const TokenWindows& probe,
                                                     const SensitivityOptions& options,
                                                     const std::function<void(index_t done, index_t total)>& progress) {
  const std::string key = key_of(text, probe, options);
  io::Hash name;
  name.add(key);
  const std::filesystem::path path = options.folder / ("sensitivities-" + name.digits().substr(0, 16) + ".records");
  if (!options.folder.empty()) {
    const auto names = weight_names(text.checkpoint.config(), options.linears, options.head);
    if (auto found = read_sensitivities(path, key, names)) return *std::move(found);
  }
  const auto measure_on = [&]<Device D>(Queue<D>& device) {
    SensitivityProbe<D> run(comm, queue, device, text, probe, options);
    const index_t layers = text.checkpoint.config().layers;
    for (index_t layer = 0; layer < layers; ++layer) {
      run.probe_layer(layer);
      progress(layer + 1, layers);
    }
    return run.finish();
  };
  std::vector<MatrixSensitivity> measured = options.gpu != nullptr ? measure_on(*options.gpu) : measure_on(queue);
  if (!options.folder.empty()) write_sensitivities(comm, path, key, measured);
  return measured;
}

}  // namespace hack::model
