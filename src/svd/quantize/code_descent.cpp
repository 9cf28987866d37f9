#include "svd/quantize/code_descent.hpp"

#include <algorithm>
#include <array>

#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "kernels/error.hpp"

namespace hack::svd {
namespace {

using kernels::Transpose;

/// Columns that get the changes of a block as soon as all rows have theirs, by one product; those of the block itself
/// get them change by change, all others once a panel.
constexpr index_t panel_width = 128;

/// sums += factor · row.
void add_row(double factor, const double* __restrict row, index_t n, double* __restrict sums) {
  for (index_t k = 0; k < n; ++k) sums[k] += factor * row[k];
}

}  // namespace

/// The columns of a panel.
struct CodeDescent::Panel {
  index_t first;                // column
  MatrixView<const double> h;   // (width, width) H + d I
  MatrixView<double> products;  // (rows, width)
  MatrixView<double> changes;   // (rows, width)
  double* levels;               // (width) working memory
};

/// One row in the columns of a block.
struct CodeDescent::Row {
  index_t first;               // column
  MatrixView<const double> h;  // (width, width) H + d I, a part of the panel's
  const RowChunk& chunk;
  index_t r;
  double* products;  // (width)
  double* changes;   // (width)
  double* levels;    // (width)
  BlockScale& scale;

  std::uint8_t& code(index_t i) const { return chunk.codes[r * chunk.values.cols + first + i]; }

  /// Adds to the error of one number.
  void change(index_t i, double delta) const {
    chunk.errors(r, first + i) += delta;
    changes[i] += delta;
    add_row(delta, h.row(i), h.cols, products);
  }
};

CodeDescent::CodeDescent(MatrixView<const double> h, double damping, const BlockGrid& grid, std::vector<Range> blocks)
    : h_(h), damping_(damping), grid_(grid), blocks_(std::move(blocks)) {
  HACK_EXPECT(grid.block() <= panel_width);
}

CodeDescent::Space CodeDescent::space(index_t rows) const {
  return {
      Buffer<double>(rows * h_.rows), Buffer<double>(rows * panel_width),   Buffer<double>(panel_width * panel_width),
      Buffer<double>(panel_width),    Buffer<float>(panel_width * h_.rows), Buffer<float>(rows * panel_width),
      Buffer<float>(rows * h_.rows)};
}

void CodeDescent::run(const RowChunk& chunk, int passes, Space& space) const {
  if (passes == 0) return;
  const index_t m = chunk.values.rows, n = chunk.values.cols;
  const MatrixView<double> products(space.products.data(), m, n);
  kernels::multiply(1, chunk.errors, Transpose::no, h_, Transpose::no, 0, products);
  double loss = 0;
  for (index_t r = 0; r < m; ++r) {
    for (index_t c = 0; c < n; ++c) {
      products(r, c) += damping_ * chunk.errors(r, c);
      loss += products(r, c) * chunk.errors(r, c);
    }
  }
  for (int p = 0; p < passes; ++p) {
    const double gain = pass(chunk, space);
    loss -= gain;
    if (gain <= 1e-3 * loss) return;
  }
}

/// Returns by how much the loss falls.
double CodeDescent::pass(const RowChunk& chunk, Space& space) const {
  const index_t m = chunk.values.rows, n = chunk.values.cols;
  const MatrixView<double> products(space.products.data(), m, n);
  double gain = 0;
  for (std::size_t b = 0, last; b < blocks_.size(); b = last) {
    const index_t first = blocks_[b].begin;
    for (last = b + 1; last < blocks_.size() && blocks_[last].end - first <= panel_width;) ++last;
    const index_t width = blocks_[last - 1].end - first;
    const MatrixView<double> h(space.h.data(), width, width), changes(space.changes.data(), m, width);
    kernels::copy(h_.block(first, first, width, width), h);
    for (index_t i = 0; i < width; ++i) h(i, i) += damping_;
    std::fill_n(changes.data, m * width, 0.0);
    for (std::size_t in = b; in < last; ++in) {
      gain += improve_block(chunk, in, {first, h, products.block(0, first, m, width), changes, space.levels.data()});
    }
    for (const Range rest : {Range{0, first}, Range{first + width, n}})
      add_changes(first, changes, rest, products, space);
  }
  return gain;
}

/// The columns `rest` of R get the changes of a panel. In f32, with half of the time: an error of one part in a million
/// of a change is far below what decides between two codes.
void CodeDescent::add_changes(index_t first, MatrixView<const double> changes, Range rest, MatrixView<double> products,
                              Space& space) const {
  if (rest.size() == 0) return;
  const MatrixView<float> h(space.narrow_h.data(), changes.cols, rest.size());
  const MatrixView<float> factors(space.narrow_changes.data(), changes.rows, changes.cols);
  const MatrixView<float> sums(space.narrow_sums.data(), changes.rows, rest.size());
  kernels::copy(h_.block(first, rest.begin, changes.cols, rest.size()), h);
  kernels::copy(changes, factors);
  kernels::multiply(factors, h, sums);
  for (index_t r = 0; r < changes.rows; ++r) {
    for (index_t c = 0; c < rest.size(); ++c) products(r, rest.begin + c) += sums(r, c);
  }
}

/// The codes and the scale of a block, of all rows; then the other columns of its panel get the changes.
double CodeDescent::improve_block(const RowChunk& chunk, std::size_t block, const Panel& panel) const {
  const index_t m = chunk.values.rows, at = blocks_[block].begin - panel.first, width = blocks_[block].size();
  double gain = 0;
  for (index_t r = 0; r < m; ++r) {
    const Row row{blocks_[block].begin,
                  panel.h.block(at, at, width, width),
                  chunk,
                  r,
                  panel.products.row(r) + at,
                  panel.changes.row(r) + at,
                  panel.levels,
                  chunk.scales[static_cast<std::size_t>(r) * blocks_.size() + block]};
    gain += improve_codes(row) + improve_scale(row);
  }
  for (const Range rest : {Range{0, at}, Range{at + width, panel.h.cols}}) {
    if (rest.size() == 0) continue;
    kernels::multiply(1, panel.changes.block(0, at, m, width), Transpose::no,
                      panel.h.block(at, rest.begin, width, rest.size()), Transpose::no, 1,
                      panel.products.block(0, rest.begin, m, rest.size()));
  }
  return gain;
}

double CodeDescent::improve_codes(const Row& row) const {
  const BlockScale& scale = row.scale;
  double gains = 0;
  for (index_t i = 0; i < row.h.rows; ++i) {
    const double value = grid_.value_of(row.code(i), scale);
    const int code = grid_.code_of(value + row.products[i] / row.h(i, i), scale);
    if (code == row.code(i)) continue;
    const double delta = value - grid_.value_of(code, scale);
    const double gain = -delta * (2 * row.products[i] + delta * row.h(i, i));
    if (!(gain > 0)) continue;
    gains += gain;
    row.code(i) = static_cast<std::uint8_t>(code);
    row.change(i, delta);
  }
  return gains;
}

double CodeDescent::improve_scale(const Row& row) const {
  const index_t width = row.h.rows;
  BlockScale& scale = row.scale;
  // With L the levels of the codes: L H_bb Lᵀ, L H_bb 1ᵀ, 1 H_bb 1ᵀ, R_b Lᵀ, R_b 1ᵀ.
  double ll = 0, l1 = 0, ones = 0, rl = 0, r1 = 0;
  for (index_t i = 0; i < width; ++i) row.levels[i] = grid_.level(row.code(i));
  std::array<double, panel_width> by_level{}, by_one{};
  for (index_t k = 0; k < width; ++k) {
    add_row(row.levels[k], row.h.row(k), width, by_level.data());
    if (grid_.has_minimum()) add_row(1, row.h.row(k), width, by_one.data());
  }
  for (index_t i = 0; i < width; ++i) {
    const auto at = static_cast<std::size_t>(i);
    ll += row.levels[i] * by_level[at];
    l1 += row.levels[i] * by_one[at];
    ones += by_one[at];
    rl += row.levels[i] * row.products[i];
    r1 += row.products[i];
  }
  const double determinant = grid_.has_minimum() ? ll * ones - l1 * l1 : ll;
  if (!(determinant > (grid_.has_minimum() ? 1e-12 * ll * ones : 0.0))) return 0;
  const double wanted = grid_.has_minimum() ? (ones * rl - l1 * r1) / determinant : rl / ll;
  BlockScale next = grid_.rounded(scale.scale + wanted, scale.minimum);
  const double d = static_cast<double>(next.scale) - scale.scale;
  // The minimum makes up for what the scale lost when it was rounded.
  if (grid_.has_minimum()) next.minimum = grid_.rounded_minimum(scale.minimum + (r1 - d * l1) / ones, next.scale);
  const double m = static_cast<double>(next.minimum) - scale.minimum;
  const double gain = 2 * (d * rl + m * r1) - (d * d * ll + 2 * d * m * l1 + m * m * ones);
  if (!(gain > 0)) return 0;
  scale = next;
  for (index_t i = 0; i < width; ++i) {
    const double delta = -(d * row.levels[i] + m);
    const auto at = static_cast<std::size_t>(i);
    row.chunk.errors(row.r, row.first + i) += delta;
    row.changes[i] += delta;
    row.products[i] -= d * by_level[at] + m * by_one[at];
  }
  return gain;
}

}  // namespace hack::svd
