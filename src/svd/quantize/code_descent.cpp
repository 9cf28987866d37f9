#include "svd/quantize/code_descent.hpp"

#include <algorithm>
#include <array>

#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "kernels/error.hpp"

namespace hack::svd {
namespace {

using kernels::Transpose;

/// Columns in which R is kept up change by change; the others get all changes of a panel by one product.
constexpr index_t panel = 128;

/// sums += factor · row.
void add_row(double factor, const double* __restrict row, index_t n, double* __restrict sums) {
  for (index_t k = 0; k < n; ++k) sums[k] += factor * row[k];
}

}  // namespace

/// One row in the columns of a panel.
struct CodeDescent::Row {
  index_t first;               // column of the panel
  MatrixView<const double> h;  // (width, width) H + d I
  const RowChunk& chunk;
  index_t r;
  double* products;  // (width)
  double* changes;   // (width)
  double* levels;    // (width)
  BlockScale* scales;

  std::uint8_t& code(index_t i) const { return chunk.codes[r * chunk.values.cols + first + i]; }

  /// Adds to the error of one number.
  void change(index_t i, double delta) const {
    chunk.errors(r, first + i) += delta;
    changes[i] += delta;
    const double* row = h.row(i);
    for (index_t k = 0; k < h.cols; ++k) products[k] += delta * row[k];
  }
};

CodeDescent::CodeDescent(MatrixView<const double> h, double damping, const BlockGrid& grid, std::vector<Range> blocks)
    : h_(h), damping_(damping), grid_(grid), blocks_(std::move(blocks)) {
  HACK_EXPECT(grid.block() <= panel);
}

CodeDescent::Space CodeDescent::space(index_t rows) const {
  return {Buffer<double>(rows * h_.rows), Buffer<double>(rows * panel), Buffer<double>(panel * panel),
          Buffer<double>(panel)};
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
    for (last = b + 1; last < blocks_.size() && blocks_[last].end - first <= panel;) ++last;
    const index_t width = blocks_[last - 1].end - first;
    const MatrixView<double> h(space.h.data(), width, width), changes(space.changes.data(), m, width);
    kernels::copy(h_.block(first, first, width, width), h);
    for (index_t i = 0; i < width; ++i) h(i, i) += damping_;
    std::fill_n(changes.data, m * width, 0.0);
    for (index_t r = 0; r < m; ++r) {
      const Row row{first,
                    h,
                    chunk,
                    r,
                    products.row(r) + first,
                    changes.row(r),
                    space.levels.data(),
                    chunk.scales + static_cast<std::size_t>(r) * blocks_.size()};
      for (std::size_t in = b; in < last; ++in) gain += improve_codes(row, in) + improve_scale(row, in);
    }
    for (const Range rest : {Range{0, first}, Range{first + width, n}}) {
      if (rest.size() == 0) continue;
      kernels::multiply(1, changes, Transpose::no, h_.block(first, rest.begin, width, rest.size()), Transpose::no, 1,
                        products.block(0, rest.begin, m, rest.size()));
    }
  }
  return gain;
}

double CodeDescent::improve_codes(const Row& row, std::size_t block) const {
  const BlockScale& scale = row.scales[block];
  double gains = 0;
  for (index_t i = blocks_[block].begin - row.first; i < blocks_[block].end - row.first; ++i) {
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

double CodeDescent::improve_scale(const Row& row, std::size_t block) const {
  const index_t first = blocks_[block].begin - row.first, width = blocks_[block].size();
  BlockScale& scale = row.scales[block];
  // With L the levels of the codes: L H_bb Lᵀ, L H_bb 1ᵀ, 1 H_bb 1ᵀ, R_b Lᵀ, R_b 1ᵀ.
  double ll = 0, l1 = 0, ones = 0, rl = 0, r1 = 0;
  for (index_t i = 0; i < width; ++i) row.levels[i] = grid_.level(row.code(first + i));
  std::array<double, panel> by_level{}, by_one{};
  for (index_t k = 0; k < width; ++k) {
    add_row(row.levels[k], row.h.row(first + k) + first, width, by_level.data());
    if (grid_.has_minimum()) add_row(1, row.h.row(first + k) + first, width, by_one.data());
  }
  for (index_t i = 0; i < width; ++i) {
    const auto at = static_cast<std::size_t>(i);
    ll += row.levels[i] * by_level[at];
    l1 += row.levels[i] * by_one[at];
    ones += by_one[at];
    rl += row.levels[i] * row.products[first + i];
    r1 += row.products[first + i];
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
  for (index_t i = 0; i < width; ++i) row.change(first + i, -(d * row.levels[i] + m));
  return gain;
}

}  // namespace hack::svd
