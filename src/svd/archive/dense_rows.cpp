#include "svd/archive/dense_rows.hpp"

#include <algorithm>
#include <utility>

#include "kernels/batched_algebra.hpp"

namespace hack::svd {
namespace {

using kernels::Product;

void add(MatrixView<const double> x, MatrixView<double> to) {
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) to(i, j) += x(i, j);
  }
}

}  // namespace

DenseRows::DenseRows(const FactorSource& source, std::string name, Queue<Device::cpu>& queue)
    : source_(source), name_(std::move(name)), queue_(queue) {
  for (const StoredTerm& term : source.read_whole_terms(name_)) whole_.emplace_back(term);
}

void DenseRows::read(index_t i, MatrixView<float> out) {
  const Tile first = grid().tile(i, 0);
  HACK_EXPECT(out.rows == first.height && out.cols == grid().cols());
  const std::vector<StoredTile> tiles = source_.read_tiles(name_, i, 0, grid().tile_cols());
  sums_.assign(static_cast<std::size_t>(out.rows * out.cols), 0.0);
  const MatrixView<double> sums(sums_.data(), out.rows, out.cols);

  std::size_t most = 0;
  for (const StoredTile& tile : tiles) most = std::max(most, tile.terms.size());
  // The t-th terms of all tiles are one batch: their blocks are apart.
  for (std::size_t t = 0; t < most; ++t) {
    std::vector<WideTerm> terms;
    terms.reserve(tiles.size());
    std::vector<Product<Device::cpu>> products;
    for (std::size_t j = 0; j < tiles.size(); ++j) {
      if (tiles[j].terms.size() <= t) continue;
      const Tile at = grid().tile(i, static_cast<index_t>(j));
      const WideTerm& term = terms.emplace_back(tiles[j].terms[t]);
      const MatrixView<double> block = sums.block(0, at.col, at.height, at.width);
      if (term.is_dense()) {
        add(term.values({0, at.height}), block);
      } else if (term.rank() > 0) {
        products.push_back({term.left({0, at.height}), term.right(), block});
      }
    }
    kernels::multiply<Device::cpu>(queue_, 1.0, kernels::Transpose::no, kernels::Transpose::no, 1.0, products);
  }
  const Range rows = {first.row, first.row + first.height};
  for (const WideTerm& term : whole_) {
    if (term.is_dense()) {
      add(term.values(rows), sums);
    } else if (term.rank() > 0) {
      const Product<Device::cpu> product = {term.left(rows), term.right(), sums};
      kernels::multiply<Device::cpu>(queue_, 1.0, kernels::Transpose::no, kernels::Transpose::no, 1.0, {&product, 1});
    }
  }
  for (index_t r = 0; r < out.rows; ++r) {
    std::transform(sums.row(r), sums.row(r) + out.cols, out.row(r), [](double x) { return static_cast<float>(x); });
  }
}

}  // namespace hack::svd
