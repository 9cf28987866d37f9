#include "model/calibration/layerwise_fit.hpp"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/collectives.hpp"
#include "io/hash.hpp"
#include "kernels/device_view.hpp"
#include "kernels/error.hpp"
#include "model/calibration/layerwise_memory.hpp"
#include "model/calibration/layerwise_pass.hpp"
#include "model/calibration/mlp_refinement.hpp"
#include "model/calibration/statistics_file.hpp"
#include "model/llama/names.hpp"
#include "svd/choose/allocation.hpp"
#include "svd/fit/propagated_target.hpp"
#include "svd/fit/weighted_error.hpp"
#include "svd/fit/whitening.hpp"
#include "svd/pipeline/layer_codes.hpp"
#include "svd/pipeline/layer_factors.hpp"
#include "svd/quantize/row_quantizer.hpp"
#include "svd/tile/tile_encoder.hpp"

namespace hack::model {
namespace {

using svd::StepOutput;
using svd::TiledMatrix;

/// What statistics are of, in words.
std::string statistics_key(const CalibrationText& text, const LayerwiseOptions& options) {
  io::Hash ids;
  ids.add(text.windows.context);
  ids.add(std::as_bytes(std::span(text.windows.ids)));
  std::set<std::string_view> inputs;
  for (const Linear linear : options.linears) inputs.insert(to_string(linear_input(linear)));
  if (options.head) inputs.insert(to_string(LinearInput::head));
  return fmt::format("model {}, text {}, inputs {}, token power {}, {}", text.checkpoint.fingerprint(), ids.digits(),
                     fmt::join(inputs, " "), options.token_power, to_string(options.type));
}

/// Layers run and are refined on D; `queue` is the host's.
template <Device D>
class LayerwiseFit : public svd::Fit {
 public:
  LayerwiseFit(const comm::Communicator& comm, Queue<Device::cpu>& queue, Queue<D>& device, const CalibrationText& text,
               const LayerwiseOptions& options, const RankChoices& choices)
      : comm_(comm),
        queue_(queue),
        device_(device),
        checkpoint_(text.checkpoint),
        options_(options),
        choices_(choices),
        memory_(static_cast<index_t>(
            layerwise_memory(text.checkpoint.config(), options,
                             {text.windows.count(), text.windows.context, comm.size(), queue.threads()}))),
        pass_(comm, device, text, {options.type, options.compressed_inputs || options.refine, options.token_power}) {
    const bool is_dense = !options.compressed_inputs && !options.refine;
    if (is_dense && !options.statistics_folder.empty()) {
      kept_.emplace(comm, options.statistics_folder, statistics_key(text, options));
    }
  }

  const svd::CompressOptions& storage() const override { return options_.storage; }
  index_t size() const override { return checkpoint_.config().layers; }

  std::unique_ptr<svd::FitStep> next() override {
    if (begun_ == steps()) return nullptr;
    return std::make_unique<Step>(*this, begun_++);
  }

  void resume(index_t done, const std::string& state) override {
    if (kept_ && !kept_->is_whole()) kept_.reset();  // statistics of the first layers are not made again
    if (done < steps()) pass_.restore(state);
  }

  void finish() override {
    if (kept_) kept_->finish();
  }

 private:
  /// A layer, or the head behind all layers.
  class Step : public svd::FitStep {
   public:
    Step(LayerwiseFit& fit, index_t layer) : fit_(fit), layer_(layer) {}

    index_t size() const override { return is_head() ? 0 : 1; }
    svd::StepMemory memory() const override { return {.working = fit_.memory_}; }

    void make(StepOutput& output) override {
      if (is_head()) {
        fit_.compress_head(output);
      } else {
        fit_.compress_layer(layer_, output);
      }
    }

    comm::Journal::Pieces state() override {
      comm::Journal::Pieces pieces;
      if (is_head()) return pieces;
      state_ = fit_.pass_.state();
      for (const HostView<float, D>& stream : state_) pieces.push_back(std::as_bytes(stream.span()));
      return pieces;
    }

   private:
    bool is_head() const { return layer_ == fit_.size(); }

    LayerwiseFit& fit_;
    index_t layer_;
    std::vector<HostView<float, D>> state_;
  };

  /// What is compressed: a linear layer, or the head.
  struct Name {
    std::string weights;
    std::optional<Linear> linear;
  };

  /// Layers, and the head.
  index_t steps() const { return size() + (options_.head ? 1 : 0); }

  void compress_layer(index_t layer, StepOutput& output) {
    const bool runs = !kept_ || !kept_->is_whole();  // nothing needs the model's activations otherwise
    const auto run = [&](auto step) {
      if (runs) output.measure("activations", step);
    };
    run([&] { pass_.load(layer); });
    compress_inputs(layer, LinearInput::attention, output);
    compress_inputs(layer, LinearInput::attention_output, output);
    write_matrices(output);
    run([&] { pass_.advance_attention(); });
    compress_inputs(layer, LinearInput::mlp, output);
    compress_inputs(layer, LinearInput::inner, output);
    if (options_.refine) refine(layer, output);
    write_matrices(output);
    run([&] { pass_.advance_mlp(); });
  }

  void compress_head(StepOutput& output) {
    output.measure("activations", [&] { pass_.load_head(); });
    compress_matrices("", LinearInput::head, {{head_weights(checkpoint_.config()), std::nullopt}}, output);
    write_matrices(output);
  }

  /// The selected matrices of a layer that have this input.
  void compress_inputs(index_t layer, LinearInput input, StepOutput& output) {
    std::vector<Name> names;
    for (const Linear linear : options_.linears) {
      if (linear_input(linear) == input) names.push_back({weight_name(layer, linear), linear});
    }
    if (!names.empty()) compress_matrices(layer_prefix(layer), input, names, output);
  }

  void compress_matrices(const std::string& prefix, LinearInput input, const std::vector<Name>& names,
                         StepOutput& output) {
    const bool with_cross = options_.compressed_inputs && options_.target_share > 0;
    svd::InputStatistics statistics =
        output.measure("activations", [&] { return statistics_of(prefix, input, with_cross); });
    std::optional<svd::PropagatedTarget<D>> target;
    if (statistics.kind() != svd::Cross::none) {
      output.measure("targets",
                     [&] { target.emplace(device_, statistics, options_.weighting.damping, options_.target_share); });
    }
    const std::vector<double> weights = svd::damped_diagonal(statistics.h(), options_.weighting.damping);
    const std::size_t first = compressed_.size();
    for (const Name& name : names) {
      compressed_.push_back({.linear = name.linear,
                             .matrix = output.measure("targets", [&] { return read(name.weights, target); }),
                             .column_weights = weights,
                             .codec = stored_codec(name.weights)});
    }
    // As much memory as making tiles takes.
    target.reset();
    statistics.forget_cross();
    std::optional<svd::WeightedFactorizer<D>> factorizer;
    std::map<Codec, svd::RowQuantizer> quantizers;
    for (std::size_t i = first; i < compressed_.size(); ++i) {
      CompressedMatrix& compressed = compressed_[i];
      output.measure("factors", [&] {
        if (options_.quantize) {
          quantize(statistics.h(), quantizers, compressed);
          const index_t n = statistics.h().rows;
          const DeviceView<double, D> h(statistics.h().data, n * n);
          report(compressed, {h.data(), n, n}, output.report());
        } else {
          if (!factorizer) factorizer.emplace(device_, statistics.h(), compressed.matrix.grid, options_.weighting);
          choose(*factorizer, compressed.matrix);
          svd::factorize_together(comm_, device_, *factorizer, compressed.matrix);
          compressed.rebuilt = svd::rebuild(queue_, compressed.matrix);
          report(compressed, factorizer->h(), output.report());
        }
      });
      // The compressed stream meets it from here on.
      if (compressed.linear) pass_.replace(*compressed.linear, compressed.values());
      if (!options_.refine) compressed.forget_values();
    }
  }

  /// `quantizers`: those of the same inputs so far.
  void quantize(MatrixView<const double> h, std::map<Codec, svd::RowQuantizer>& quantizers,
                CompressedMatrix& compressed) {
    svd::TiledMatrix& matrix = compressed.matrix;
    const Codec codec = compressed.codec;
    const auto quantizer =
        quantizers.try_emplace(codec, h, matrix.grid, svd::BlockGrid(codec), *options_.quantize).first;
    svd::LayerCodes codes = svd::quantize_together(comm_, queue_, quantizer->second, h, matrix);
    compressed.codes = std::move(codes.own);
    compressed.rebuilt = std::move(codes.rebuilt);
    matrix.tiles.resize(static_cast<std::size_t>(matrix.grid.size()));
  }

  /// What a matrix is stored in.
  Codec stored_codec(const std::string& name) const {
    const auto found = options_.codecs.find(name);
    return found == options_.codecs.end() ? options_.storage.codec : found->second;
  }

  /// From the file of an earlier run, or from the windows.
  svd::InputStatistics statistics_of(const std::string& prefix, LinearInput input, bool with_cross) {
    if (!kept_) return pass_.statistics(input, with_cross);
    const std::string name = prefix + std::string(to_string(input));
    if (kept_->is_whole()) return kept_->read(name, pass_.input_size(input));
    svd::InputStatistics statistics = pass_.statistics(input, with_cross);
    kept_->write(name, statistics);
    return statistics;
  }

  /// One of the layer's matrices that are not written yet.
  CompressedMatrix& compressed(Linear linear) {
    const auto at = std::find_if(compressed_.begin(), compressed_.end(),
                                 [&](const CompressedMatrix& matrix) { return matrix.linear == linear; });
    validate(at != compressed_.end(), "the MLP of a layer cannot be refined (its {} is not compressed)",
             to_string(linear));
    return *at;
  }

  /// Gate, up and down together.
  void refine(index_t layer, StepOutput& output) {
    output.measure("activations", [&] { pass_.advance_dense_mlp(); });
    output.measure("refinement", [&] {
      svd::RefineOptions options = *options_.refine;
      options.seed += static_cast<std::uint64_t>(layer);
      const CompressedMlp mlp{compressed(Linear::gate), compressed(Linear::up), compressed(Linear::down)};
      output.report().refined.push_back(refine_mlp(comm_, queue_, device_, pass_, options, mlp));
    });
  }

  void write_matrices(StepOutput& output) {
    for (const CompressedMatrix& compressed : compressed_) {
      output.write(output.measure("archive", [&] { return encode(compressed); }));
    }
    compressed_.clear();
  }

  /// The matrix as it should be. Ranks compute some rows of tiles of it each.
  TiledMatrix read(const std::string& name, const std::optional<svd::PropagatedTarget<D>>& target) {
    const TensorInfo info = checkpoint_.info(name);
    TiledMatrix matrix{name, options_.storage.grid(info.rows, info.cols), Buffer<float>(info.rows * info.cols), {}, {}};
    const MatrixView<float> values(matrix.values.data(), info.rows, info.cols);
    checkpoint_.read(name, 0, 0, values);
    if (!target) return matrix;
    const svd::Range rows = svd::even_part(info.rows, comm_.size(), comm_.rank());
    Buffer<float> mine(rows.size() * info.cols);
    if (rows.size() > 0) {
      target->apply(device_, values.rows_from(rows.begin, rows.size()), rows.begin,
                    {mine.data(), rows.size(), info.cols});
    }
    const std::vector<float> all =
        comm::all_gather(comm_, std::span<const float>(mine.data(), static_cast<std::size_t>(mine.size())));
    std::copy(all.begin(), all.end(), matrix.values.data());
    return matrix;
  }

  void choose(const svd::WeightedFactorizer<D>& factorizer, TiledMatrix& matrix) {
    const auto chosen = choices_.find(matrix.name);
    if (chosen != choices_.end()) {
      matrix.choices = chosen->second;
      return;
    }
    const std::vector<float> sigma = svd::spectra_together(comm_, device_, factorizer, matrix);
    matrix.choices = svd::choose_ranks(options_.storage.rule, svd::tile_spectra(matrix.grid, sigma),
                                       options_.storage.format(options_.align));
  }

  void report(const CompressedMatrix& compressed, MatrixView<const double, D> h, svd::StepReport& to) {
    const TiledMatrix& matrix = compressed.matrix;
    to.matrices.push_back(svd::summarize(matrix.name, matrix.grid, matrix.choices, stored_codec(matrix.name)));
    // Rows of tiles are shared out: the sums add up.
    const svd::Range rows = svd::even_part(matrix.grid.rows(), comm_.size(), comm_.rank());
    const auto part = [&](MatrixView<const float> x) { return x.rows_from(rows.begin, rows.size()); };
    const double energy = svd::weighted_energy<D>(device_, part(matrix.values_view()), h);
    const double error = svd::weighted_error<D>(device_, part(matrix.values_view()), part(compressed.values()), h);
    to.weighted.push_back(
        {comm::all_reduce_sum(comm_, energy), comm::all_reduce_sum(comm_, error), to.matrices.back().discarded});
  }

  /// Each rank encodes some rows of tiles.
  svd::MatrixPart encode(const CompressedMatrix& compressed) {
    const TiledMatrix& matrix = compressed.matrix;
    const svd::Range rows = svd::even_part(matrix.grid.tile_rows(), comm_.size(), comm_.rank());
    const index_t columns = matrix.grid.tile_cols();
    svd::MatrixPart part{.name = matrix.name, .grid = matrix.grid, .first_tile = rows.begin * columns};
    part.has_spectra = false;
    std::vector<svd::TileNumbers> numbers;
    for (index_t t = rows.begin * columns; t < rows.end * columns; ++t) {
      const svd::Tile at = matrix.grid.tile(t);
      const svd::TruncatedTile& tile = matrix.tiles[static_cast<std::size_t>(t)];
      numbers.push_back(
          {.values = compressed.codes ? MatrixView<const float>{}
                                      : compressed.values().block(at.row, at.col, at.height, at.width),
           .u = {tile.u.data(), at.height, tile.rank},
           .sigma = tile.sigma.data(),
           .vt = {tile.vt.data(), tile.rank, at.width},
           .column_weights = {compressed.column_weights.data() + at.col, static_cast<std::size_t>(at.width)}});
    }
    if (compressed.codes) add_codes(compressed, rows, numbers);
    const auto choices = std::span<const svd::TileChoice>(matrix.choices)
                             .subspan(static_cast<std::size_t>(rows.begin * columns), numbers.size());
    svd::append_tiles(queue_, part, choices, numbers, compressed.codec);
    return part;
  }

  /// Gives the tiles of this rank's rows their codes.
  void add_codes(const CompressedMatrix& compressed, svd::Range rows, std::vector<svd::TileNumbers>& numbers) const {
    const svd::TileGrid& grid = compressed.matrix.grid;
    const svd::QuantizedRows& from = *compressed.codes;
    const index_t block = spec_of(compressed.codec).block, first_tile = rows.begin * grid.tile_cols();
    const auto blocks = std::ssize(svd::blocks_of_row(grid, block));
    for (std::size_t t = 0; t < numbers.size(); ++t) {
      const svd::Tile at = grid.tile(first_tile + static_cast<index_t>(t));
      const index_t row = at.row - grid.tile(first_tile).row;
      // Blocks begin anew at each tile column.
      const index_t before = at.j * ((grid.tile_width() + block - 1) / block);
      numbers[t].codes = {from.codes.data() + row * grid.cols() + at.col, grid.cols(),
                          from.scales.data() + row * blocks + before, blocks};
    }
  }

  const comm::Communicator& comm_;
  Queue<Device::cpu>& queue_;
  Queue<D>& device_;
  const Checkpoint& checkpoint_;
  LayerwiseOptions options_;
  RankChoices choices_;
  index_t memory_;  // bytes of a step at most
  LayerwisePass<D> pass_;
  std::vector<CompressedMatrix> compressed_;  // of this layer, not written yet
  std::optional<StatisticsFile> kept_;        // of the dense model's inputs, where they may be kept
  index_t begun_ = 0;                         // steps
};

}  // namespace

std::unique_ptr<svd::Fit> make_layerwise_fit(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                                             const CalibrationText& text, const LayerwiseOptions& options,
                                             const RankChoices& choices) {
  if (options.gpu != nullptr) {
    return std::make_unique<LayerwiseFit<Device::cuda>>(comm, queue, *options.gpu, text, options, choices);
  }
  return std::make_unique<LayerwiseFit<Device::cpu>>(comm, queue, queue, text, options, choices);
}

}  // namespace hack::model
