#include "model/calibration/layerwise_memory.hpp"

#include <algorithm>
#include <vector>

#include "model/calibration/layerwise_pass.hpp"
#include "model/llama/names.hpp"

namespace hack::model {
namespace {

struct Shape {
  double rows, cols;
  double size() const { return rows * cols; }
};

class LayerwiseMemory {
 public:
  LayerwiseMemory(const LlamaConfig& config, const LayerwiseOptions& options, const LayerwiseRun& run)
      : config_(config), options_(options), run_(run), own_windows_((run.windows + run.ranks - 1) / run.ranks) {}

  double most() const {
    const double embedding =
        number(config_.vocab_size) * number(config_.hidden_size) * number(size_of(options_.type)) + streams();
    return std::max({embedding, half(false), half(true), options_.head ? head() : 0.0});
  }

 private:
  static double number(index_t n) { return static_cast<double>(n); }
  bool two_streams() const { return options_.compressed_inputs || options_.refine; }
  double copies() const { return two_streams() ? 2 : 1; }
  double tokens() const { return number(own_windows_ * run_.context); }

  Shape shape(Linear linear) const {
    const LayerTensor& tensor = tensor_of(linear);
    return {number(size_of(tensor.rows, config_)), number(size_of(tensor.cols, config_))};
  }

  double streams() const { return copies() * 4 * tokens() * number(config_.hidden_size); }

  /// Weights and working memory of a layer on each stream.
  double layers() const {
    double weights = 0, replaced = 0;
    for (const Linear linear : all_linears) weights += shape(linear).size();
    if (two_streams()) {
      for (const Linear linear : options_.linears) replaced += shape(linear).size();
    }
    const double size = number(size_of(options_.type));
    const double hidden = number(config_.hidden_size), inner = number(config_.intermediate_size);
    const double heads = number(config_.heads * config_.head_dim), kv = number(config_.kv_heads * config_.head_dim);
    const double working = 4 * number(run_.context) * (3 * hidden + 2 * heads + 4 * kv + 2 * inner);
    const double kept = two_streams() ? 4 * tokens() * inner : 0;
    return copies() * (size * weights + working) + 4 * replaced + kept;
  }

  /// Numbers in the factors of a matrix, at most.
  double factors(const Shape& matrix) const {
    const svd::TileGrid grid =
        options_.storage.grid(static_cast<index_t>(matrix.rows), static_cast<index_t>(matrix.cols));
    const double h = number(grid.tile_height()), w = number(grid.tile_width());
    return matrix.size() * std::min(h, w) * (h + w) / (h * w);
  }

  /// Factors, or this rank's codes: at most two bytes a number with their scales.
  double terms(const Shape& matrix) const { return options_.quantize ? 2 * matrix.size() : 4 * factors(matrix); }

  /// Values, what they became, and the terms.
  double being_made(const Shape& matrix) const { return 8 * matrix.size() + terms(matrix); }

  /// What stays of these until the matrix is in the archive.
  double made(const Shape& matrix) const {
    if (options_.refine) return being_made(matrix);
    return terms(matrix) + (options_.quantize ? 0 : 4 * matrix.size());
  }

  double factorizing(const Shape& matrix, LinearInput input) const {
    const double n = matrix.cols, m = matrix.rows;
    const bool has_target = options_.compressed_inputs && options_.target_share > 0;
    const double cross = input == LinearInput::inner ? m * n : n * n;
    const double statistics = 8 * n * n;
    // A factor of H and X or Y, gone when tiles are made.
    const double target = has_target ? 8 * (n * n + cross) : 0;
    if (options_.quantize) {
      // The factor of H, what a thread takes (see svd::RowQuantizer), and the rows on their way to all ranks.
      return statistics + std::max(target, 8 * (n * n + 352 * n * run_.threads)) + 8 * matrix.size();
    }
    const svd::TileGrid grid = options_.storage.grid(static_cast<index_t>(m), static_cast<index_t>(n));
    const double h = number(grid.tile_height()), k = number(grid.max_rank());
    const bool refits = options_.weighting.refit && grid.tile_cols() > 1;
    const double refit = refits ? 8 * (n * n + (k + h) * 2 * n) * run_.threads : 0;
    const double own_rows = number((grid.tile_rows() + run_.ranks - 1) / run_.ranks * grid.tile_height());
    const double own = std::min(1.0, own_rows / m);
    return statistics + std::max(target, refit + own * 8 * (matrix.size() + factors(matrix))) + 4 * factors(matrix);
  }

  double refining() const {
    double parameters = 0, weights = 0, codes = 0;
    for (const Linear linear : mlp_linears) {
      const double size = shape(linear).size();
      weights += size;
      if (!options_.quantize) {
        parameters += factors(shape(linear));
        continue;
      }
      parameters += size * (1 + 2.0 / 32);  // two for each block
      codes += 2 * size * (1 + 8.0 / 32);   // before and after, with scales
    }
    const double hidden = number(config_.hidden_size), inner = number(config_.intermediate_size);
    const double batch = number(options_.refine->batch);
    // Parameters, gradients, two moments and the best; dense matrices and a gradient; a step; inputs and targets.
    return codes + 4 * (5 * parameters + weights * 4 / 3 + batch * (3 * inner + 3 * hidden) + 2 * tokens() * hidden);
  }

  /// The matrices of a layer's attention, or of its MLP, which are written together.
  double half(bool of_mlp) const {
    std::vector<Linear> chosen;
    for (const Linear linear : all_linears) {
      const bool is_chosen = std::count(options_.linears.begin(), options_.linears.end(), linear) > 0;
      if (is_mlp(linear) == of_mlp && is_chosen) chosen.push_back(linear);
    }
    double before = 0, most = 0;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const LinearInput input = linear_input(chosen[i]);
      double waiting = 0;  // matrices of one input are read together
      for (std::size_t later = i + 1; later < chosen.size(); ++later) {
        if (linear_input(chosen[later]) == input) waiting += 4 * shape(chosen[later]).size();
      }
      const Shape matrix = shape(chosen[i]);
      most = std::max(most, before + waiting + being_made(matrix) + factorizing(matrix, input));
      before += made(matrix);
    }
    if (options_.refine && of_mlp) most = std::max(most, before + refining());
    return streams() + layers() + most;
  }

  double head() const {
    const Shape matrix{number(config_.vocab_size), number(config_.hidden_size)};
    const double inputs = copies() * 4 * number(run_.context) * matrix.cols;
    return streams() + inputs + being_made(matrix) + factorizing(matrix, LinearInput::head);
  }

  const LlamaConfig& config_;
  const LayerwiseOptions& options_;
  const LayerwiseRun& run_;
  index_t own_windows_;
};

}  // namespace

double layerwise_memory(const LlamaConfig& config, const LayerwiseOptions& options, const LayerwiseRun& run) {
  return LayerwiseMemory(config, options, run).most();
}

}  // namespace hack::model
