#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/reference_llama.hpp"
#include "tests/support/stored_tile.hpp"

namespace hack::testing {

/// A stored term as parameters in double with plain loops, nothing rounded: the slow twin of svd::FactorParameters and
/// svd::ValueParameters, in the same order.
class SlowTerm {
 public:
  SlowTerm(svd::StoredTerm term, index_t row, index_t col) : term_(std::move(term)), row_(row), col_(col) {
    if (term_.structure == svd::Structure::dense) {
      read_blocks();
      return;
    }
    const bool is_product = term_.structure == svd::Structure::low_rank;
    const std::vector<float> left = widened(term_.left()), right = widened(term_.right());
    const std::vector<float> sigma = is_product ? term_.sigma() : std::vector<float>();
    const auto root = [&](index_t l) { return is_product ? std::sqrt(double{sigma[l]}) : 1.0; };
    for (std::size_t n = 0; n < left.size(); ++n) parameters.push_back(left[n] * root(n % term_.rank));
    for (std::size_t n = 0; n < right.size(); ++n) parameters.push_back(right[n] * root(n / term_.width));
  }

  std::vector<double> parameters;

  /// Adds what the parameters stand for to the matrix.
  void add_to(Dense& w) const {
    const index_t k = term_.rank;
    if (term_.structure == svd::Structure::dense) return add_blocks(w);
    std::vector<index_t> skeleton;
    if (term_.structure == svd::Structure::interpolative) skeleton = term_.skeleton();
    const index_t others = term_.height - std::ssize(skeleton);
    const double* right = parameters.data() + others * k;
    index_t kept = 0, other = 0;
    for (index_t i = 0; i < term_.height; ++i) {
      const bool is_kept = std::binary_search(skeleton.begin(), skeleton.end(), i);
      for (index_t j = 0; j < term_.width; ++j) {
        double& to = w.data[(row_ + i) * w.cols + col_ + j];
        if (is_kept) to += right[kept * term_.width + j];
        for (index_t l = 0; l < k && !is_kept; ++l) to += parameters[other * k + l] * right[l * term_.width + j];
      }
      ++(is_kept ? kept : other);
    }
  }

 private:
  /// Scale, minimum and levels of blocks, from what the codec's definition says.
  void read_blocks() {
    const svd::EncodedArray array = term_.left();
    values_ = widened(array);
    const CodecSpec& spec = spec_of(array.codec);
    if (spec.block == 0) return;
    blocks_ = blocks_of(array.codec, array.cols);
    for (index_t b = 0; b < array.rows * blocks_; ++b) {
      f16 halves[2] = {};
      std::memcpy(halves, array.scales + b * spec.scale_bytes, static_cast<std::size_t>(spec.scale_bytes));
      if (spec.is_shifted) {
        const ShiftedScale shifted = ShiftedScale::from(halves[0]);
        scales_.push_back(to_float(shifted.d) / 64.0);
        minima_.push_back(to_float(shifted.d) / 64.0 * shifted.shift);
      } else {
        scales_.push_back(to_float(halves[0]));
        minima_.push_back(spec.scale_bytes == 4 ? to_float(halves[1]) : 0.0);
      }
    }
    span_ = spec.levels.empty() ? (1 << spec.code_bits) - 1 : spec.levels.back() - spec.levels.front();
    parameters.assign(static_cast<std::size_t>(array.rows * blocks_ * (has_minima(array.codec) ? 2 : 1)), 0.0);
  }

  void add_blocks(Dense& w) const {
    const index_t block = blocks_ == 0 ? term_.width : spec_of(term_.codec).block;
    for (index_t i = 0; i < term_.height; ++i) {
      for (index_t j = 0; j < term_.width; ++j) {
        double x = values_[i * term_.width + j];
        if (blocks_ > 0) {
          const index_t b = i * blocks_ + j / block;
          const double level = scales_[b] == 0 ? 0 : (x - minima_[b]) / scales_[b];
          x = scales_[b] * (1 + parameters[b]) * level + minima_[b];
          if (has_minima(term_.codec)) x += std::fabs(scales_[b]) * span_ * parameters[term_.height * blocks_ + b];
        }
        w.data[(row_ + i) * w.cols + col_ + j] += x;
      }
    }
  }

  svd::StoredTerm term_;
  index_t row_, col_;
  std::vector<float> values_;            // (h, w) of a dense term
  index_t blocks_ = 0;                   // of a row
  std::vector<double> scales_, minima_;  // (h, blocks)
  double span_ = 0;
};

/// All terms of a matrix.
class SlowMatrix {
 public:
  SlowMatrix(const svd::FactorSource& source, const std::string& name) : grid_(source.matrix(name).grid) {
    for (index_t t = 0; t < grid_.size(); ++t) {
      const svd::Tile at = grid_.tile(t);
      const std::vector<svd::StoredTile> tile = source.read_tiles(name, at.i, at.j, at.j + 1);
      for (const svd::StoredTerm& term : tile[0].terms) terms.emplace_back(term, at.row, at.col);
    }
    for (const svd::StoredTerm& term : source.read_whole_terms(name)) terms.emplace_back(term, 0, 0);
  }

  std::vector<SlowTerm> terms;

  Dense values() const {
    Dense w{grid_.rows(), grid_.cols(), std::vector<double>(static_cast<std::size_t>(grid_.rows() * grid_.cols()))};
    for (const SlowTerm& term : terms) term.add_to(w);
    return w;
  }

 private:
  svd::TileGrid grid_;
};

}  // namespace hack::testing
