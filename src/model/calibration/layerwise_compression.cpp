#include "model/calibration/layerwise_compression.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/collectives.hpp"
#include "io/hash.hpp"
#include "kernels/error.hpp"
#include "model/calibration/layerwise_pass.hpp"
#include "model/calibration/statistics_file.hpp"
#include "model/llama/names.hpp"
#include "svd/choose/allocation.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/layer_factors.hpp"
#include "svd/archive/part_record.hpp"
#include "svd/fit/propagated_target.hpp"
#include "svd/tile/tile_encoder.hpp"
#include "svd/fit/weighted_error.hpp"
#include "svd/fit/whitening.hpp"

namespace hack::model {
namespace {

using svd::TiledMatrix;

/// Where the time goes, by phase.
class PhaseClock {
 public:
  template <class F>
  auto measure(const char* phase, F work) {
    struct Stop {
      double& seconds;
      std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
      ~Stop() { seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }
    } stop{seconds_[phase]};
    return work();
  }
  std::map<std::string, double> slowest(const comm::Communicator& comm) const {
    std::map<std::string, double> out;
    for (const auto& [phase, seconds] : seconds_) out[phase] = comm::all_reduce_max(comm, seconds);
    return out;
  }

 private:
  std::map<std::string, double> seconds_ = {
      {"activations", 0}, {"targets", 0}, {"factors", 0}, {"refinement", 0}, {"archive", 0}};
};

/// What statistics are of, in words.
std::string statistics_key(const Checkpoint& checkpoint, const TokenWindows& windows, const LayerwiseOptions& options) {
  io::Hash text;
  text.add(windows.context);
  text.add(std::as_bytes(std::span(windows.ids)));
  std::set<std::string_view> inputs;
  for (const Linear linear : options.linears) inputs.insert(to_string(linear_input(linear)));
  if (options.head) inputs.insert(to_string(LinearInput::head));
  return fmt::format("model {}, text {}, inputs {}, token power {}, {}", checkpoint.fingerprint(), text.digits(),
                     fmt::join(inputs, " "), options.token_power, to_string(options.type));
}

/// Layers run and are refined on D; `queue` is the host's.
template <Device D>
class LayerwiseCompressor {
 public:
  LayerwiseCompressor(const comm::Communicator& comm, Queue<Device::cpu>& queue, Queue<D>& device,
                      const Checkpoint& checkpoint, const TokenWindows& windows, const LayerwiseOptions& options,
                      const RankChoices& choices, const svd::ArchiveHeader& header, const std::filesystem::path& output)
      : comm_(comm),
        queue_(queue),
        device_(device),
        checkpoint_(checkpoint),
        options_(options),
        choices_(choices),
        pass_(checkpoint, options.type, comm, device, windows, options.compressed_inputs || options.refine,
              options.token_power),
        writer_(comm, output, {header, options.storage}) {
    const bool is_dense = !options.compressed_inputs && !options.refine;
    if (is_dense && !options.statistics_folder.empty()) {
      kept_.emplace(comm, options.statistics_folder, statistics_key(checkpoint, windows, options));
    }
  }

  /// Takes up the layers of a journal, and adds those that follow to it. Returns how many it has.
  index_t resume(comm::Journal* journal) {
    journal_ = journal;
    if (journal_ == nullptr || journal_->steps() == 0) return 0;
    if (kept_ && !kept_->is_whole()) kept_.reset();  // those of the first layers are not made again
    clock_.measure("archive", [&] {
      for (index_t layer = 0; layer < journal_->steps(); ++layer) replay(journal_->record(layer));
      pass_.restore(journal_->state());
    });
    return journal_->steps();
  }

  void compress_layer(index_t layer) {
    const bool runs = !kept_ || !kept_->is_whole();  // nothing needs the model's activations otherwise
    const auto run = [&](auto step) {
      if (runs) clock_.measure("activations", step);
    };
    run([&] { pass_.load(layer); });
    compress_inputs(layer, LinearInput::attention);
    compress_inputs(layer, LinearInput::attention_output);
    write_matrices();
    run([&] { pass_.advance_attention(); });
    compress_inputs(layer, LinearInput::mlp);
    compress_inputs(layer, LinearInput::inner);
    if (options_.refine) refine(layer);
    write_matrices();
    run([&] { pass_.advance_mlp(); });
    clock_.measure("archive", [&] { keep_layer(); });
  }

  /// Behind all layers. No step of the journal: nothing but the end comes after it.
  void compress_head() {
    clock_.measure("activations", [&] { pass_.load_head(); });
    compress_inputs("", LinearInput::head, {{head_name, std::nullopt}});
    write_matrices();
  }

  LayerwiseReport finish() {
    clock_.measure("archive", [&] {
      if (kept_) kept_->finish();
      writer_.finish();
    });
    report_.total = svd::total_of(report_.matrices);
    report_.seconds = clock_.slowest(comm_);
    return std::move(report_);
  }

 private:
  /// What is compressed: a linear layer, or the head.
  struct Name {
    std::string weights;
    std::optional<Linear> linear;
  };

  /// A matrix between its factorization and the archive.
  struct Compressed {
    std::optional<Linear> linear;
    TiledMatrix matrix;
    std::vector<double> column_weights;  // (n)
    Buffer<float> rebuilt;               // (m, n)

    MatrixView<const float> values() const { return {rebuilt.data(), matrix.grid.rows(), matrix.grid.cols()}; }
  };

  /// The selected matrices of a layer that have this input.
  void compress_inputs(index_t layer, LinearInput input) {
    std::vector<Name> names;
    for (const Linear linear : options_.linears) {
      if (linear_input(linear) == input) names.push_back({weight_name(layer, linear), linear});
    }
    if (!names.empty()) compress_inputs(layer_prefix(layer), input, names);
  }

  void compress_inputs(const std::string& prefix, LinearInput input, const std::vector<Name>& names) {
    const bool with_cross = options_.compressed_inputs && options_.target_share > 0;
    const svd::InputStatistics statistics =
        clock_.measure("activations", [&] { return statistics_of(prefix, input, with_cross); });
    std::optional<svd::PropagatedTarget<D>> target;
    if (statistics.kind() != svd::Cross::none) {
      clock_.measure("targets",
                     [&] { target.emplace(device_, statistics, options_.weighting.damping, options_.target_share); });
    }
    std::optional<svd::WeightedFactorizer<D>> factorizer;
    for (const Name& name : names) {
      TiledMatrix matrix = clock_.measure("targets", [&] { return read(name.weights, target); });
      clock_.measure("factors", [&] {
        if (!factorizer) factorizer.emplace(device_, statistics.h(), matrix.grid, options_.weighting);
        choose(*factorizer, matrix);
        svd::factorize_together(comm_, device_, *factorizer, matrix);
      });
      adopt(name.linear, std::move(matrix), statistics.h(), factorizer->h());
    }
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

  /// Takes a factorized matrix: the second stream meets it from here on, and it will be written.
  void adopt(std::optional<Linear> linear, TiledMatrix matrix, MatrixView<const double> h,
             MatrixView<const double, D> h_there) {
    Compressed compressed{linear, std::move(matrix), svd::damped_diagonal(h, options_.weighting.damping), {}};
    clock_.measure("factors", [&] {
      compressed.rebuilt = svd::rebuild(queue_, compressed.matrix);
      report(compressed.matrix, compressed.rebuilt, h_there);
    });
    if (linear) pass_.replace(*linear, compressed.values());
    compressed_.push_back(std::move(compressed));
  }

  /// Adam on the factors of gate, up and down together, where all three are compressed.
  void refine(index_t layer) {
    const auto part_of = [&](Linear linear) {
      const auto at = std::find_if(compressed_.begin(), compressed_.end(),
                                   [&](const Compressed& compressed) { return compressed.linear == linear; });
      return at == compressed_.end() ? nullptr : &*at;
    };
    Compressed* const parts[3] = {part_of(Linear::gate), part_of(Linear::up), part_of(Linear::down)};
    validate(parts[0] != nullptr && parts[1] != nullptr && parts[2] != nullptr,
             "--refine needs gate, up and down among --matrices");
    const auto tiles_of = [](const Compressed& part) {
      return svd::FactoredTiles{part.matrix.name, part.matrix.grid, part.matrix.choices, part.matrix.tiles,
                                part.matrix.values_view()};
    };
    clock_.measure("activations", [&] { pass_.advance_dense_mlp(); });
    clock_.measure("refinement", [&] {
      const Buffer<float> inputs = pass_.mlp_inputs();
      const Buffer<float> targets = pass_.mlp_targets();
      const index_t hidden = parts[0]->matrix.grid.cols();
      svd::RefineOptions options = *options_.refine;
      options.seed += static_cast<std::uint64_t>(layer);
      svd::MlpRefiner<D> refiner(tiles_of(*parts[0]), tiles_of(*parts[1]), tiles_of(*parts[2]), options);
      report_.refined.push_back(refiner.refine(comm_, device_, {inputs.data(), pass_.tokens(), hidden},
                                               {targets.data(), pass_.tokens(), hidden}, pass_.token_weights()));
      for (const auto which : {svd::MlpMatrix::gate, svd::MlpMatrix::up, svd::MlpMatrix::down}) {
        Compressed& part = *parts[static_cast<std::size_t>(which)];
        part.matrix.tiles = refiner.factors(device_, which, {0, part.matrix.grid.size()});
      }
      for (Compressed* part : parts) {
        part->rebuilt = svd::rebuild(queue_, part->matrix);
        pass_.replace(*part->linear, part->values());
      }
    });
  }

  void write_matrices() {
    clock_.measure("archive", [&] {
      for (const Compressed& compressed : compressed_) write(compressed);
    });
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

  void report(const TiledMatrix& matrix, const Buffer<float>& rebuilt, MatrixView<const double, D> h) {
    report_.matrices.push_back(svd::summarize(matrix.name, matrix.grid, matrix.choices, options_.storage));
    const MatrixView<const float> approximation(rebuilt.data(), matrix.grid.rows(), matrix.grid.cols());
    // Rows of tiles are shared out: the sums add up.
    const svd::Range rows = svd::even_part(matrix.grid.rows(), comm_.size(), comm_.rank());
    const auto part = [&](MatrixView<const float> x) { return x.rows_from(rows.begin, rows.size()); };
    const double energy = svd::weighted_energy<D>(device_, part(matrix.values_view()), h);
    const double error = svd::weighted_error<D>(device_, part(matrix.values_view()), part(approximation), h);
    report_.weighted.push_back(
        {comm::all_reduce_sum(comm_, energy), comm::all_reduce_sum(comm_, error), report_.matrices.back().discarded});
  }

  /// A layer's record: its matrices, and what was reported of them.
  void keep_layer() {
    if (journal_ == nullptr) return;
    io::ByteWriter record;
    record.put(std::ssize(written_));
    for (std::size_t m = report_.matrices.size() - written_.size(), part = 0; part < written_.size(); ++m, ++part) {
      svd::put_part(record, written_[part]);
      svd::put_summary(record, report_.matrices[m]);
      record.put(report_.weighted[m]);
    }
    record.put(options_.refine ? std::vector{report_.refined.back()} : std::vector<svd::RefineReport>());
    const std::vector<HostView<float, D>> streams = pass_.state();
    std::vector<std::span<const std::byte>> state;
    for (const HostView<float, D>& stream : streams) state.push_back(std::as_bytes(stream.span()));
    journal_->append(record.bytes(), state);
    written_.clear();
  }

  void replay(const std::string& bytes) {
    io::ByteReader record(bytes);
    const auto matrices = record.get<std::ptrdiff_t>();
    for (std::ptrdiff_t m = 0; m < matrices; ++m) {
      writer_.write(svd::get_part(record));
      report_.matrices.push_back(svd::get_summary(record));
      report_.weighted.push_back(record.get<WeightedSummary>());
    }
    for (const svd::RefineReport& refined : record.get_vector<svd::RefineReport>()) report_.refined.push_back(refined);
  }

  /// Each rank encodes some rows of tiles.
  void write(const Compressed& compressed) {
    const TiledMatrix& matrix = compressed.matrix;
    const svd::Range rows = svd::even_part(matrix.grid.tile_rows(), comm_.size(), comm_.rank());
    const index_t columns = matrix.grid.tile_cols();
    svd::MatrixPart part{.name = matrix.name, .grid = matrix.grid, .first_tile = rows.begin * columns};
    part.has_spectra = options_.storage.storage == svd::Storage::low_rank;
    std::vector<svd::TileNumbers> numbers;
    for (index_t t = rows.begin * columns; t < rows.end * columns; ++t) {
      const svd::Tile at = matrix.grid.tile(t);
      const svd::TruncatedTile& tile = matrix.tiles[static_cast<std::size_t>(t)];
      numbers.push_back(
          {.values = compressed.values().block(at.row, at.col, at.height, at.width),
           .u = {tile.u.data(), at.height, tile.rank},
           .sigma = tile.sigma.data(),
           .vt = {tile.vt.data(), tile.rank, at.width},
           .spectrum = {tile.sigma.data(), static_cast<std::size_t>(part.has_spectra ? tile.rank : 0)},
           .column_weights = {compressed.column_weights.data() + at.col, static_cast<std::size_t>(at.width)}});
    }
    const auto choices = std::span<const svd::TileChoice>(matrix.choices)
                             .subspan(static_cast<std::size_t>(rows.begin * columns), numbers.size());
    svd::append_tiles(queue_, part, choices, numbers, options_.storage.factor_type);
    writer_.write(part);
    if (journal_ != nullptr) written_.push_back(std::move(part));
  }

  const comm::Communicator& comm_;
  Queue<Device::cpu>& queue_;
  Queue<D>& device_;
  const Checkpoint& checkpoint_;
  const LayerwiseOptions& options_;
  const RankChoices& choices_;
  LayerwisePass<D> pass_;
  svd::FactorArchiveWriter writer_;
  std::vector<Compressed> compressed_;  // not written yet
  std::optional<StatisticsFile> kept_;  // of the dense model's inputs, where they may be kept
  comm::Journal* journal_ = nullptr;
  std::vector<svd::MatrixPart> written_;  // of this layer, for the journal
  PhaseClock clock_;
  LayerwiseReport report_;
};

}  // namespace

LayerwiseReport compress_layerwise(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                                   const Checkpoint& checkpoint, const TokenWindows& windows,
                                   const LayerwiseOptions& options, const RankChoices& choices,
                                   const svd::ArchiveHeader& header, const std::filesystem::path& output,
                                   const std::function<void(index_t done, index_t total)>& progress,
                                   comm::Journal* journal) {
  svd::check_rank_rule(options.storage.rule);
  const auto compress_on = [&]<Device D>(Queue<D>& device) {
    LayerwiseCompressor<D> compressor(comm, queue, device, checkpoint, windows, options, choices, header, output);
    const index_t layers = checkpoint.config().layers;
    for (index_t layer = compressor.resume(journal); layer < layers; ++layer) {
      compressor.compress_layer(layer);
      progress(layer + 1, layers);
    }
    if (options.head) compressor.compress_head();
    return compressor.finish();
  };
  return options.gpu != nullptr ? compress_on(*options.gpu) : compress_on(queue);
}

}  // namespace hack::model
