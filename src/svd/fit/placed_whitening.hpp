#pragma once

#include <vector>

#include "kernels/device_view.hpp"
#include "svd/fit/whitening.hpp"

namespace hack::svd {

/// A Whitening in memory that D computes with. The host factorizes: the Cholesky factors of J blocks cost J w³ / 3
/// operations, the products with them many times n² operations.
template <Device D>
class PlacedWhitening {
 public:
  using Matrix = MatrixView<const double, D>;

  /// Memory of a GPU: n² + 2 n · width of a tile, in double; on the CPU none.
  explicit PlacedWhitening(const Whitening& whitening)
      : n_(whitening.h().rows), h_(whitening.h().data, whitening.h().rows * whitening.h().rows) {
    HACK_EXPECT(whitening.h().ld == n_);
    for (index_t j = 0; j < whitening.tile_cols(); ++j) {
      const index_t w = whitening.width(j);
      columns_.push_back({whitening.first_col(j),
                          w,
                          whitening.damping(j),
                          {whitening.root(j).data, w * w},
                          {whitening.inverse(j).data, w * w}});
    }
  }

  // The same numbers as Whitening has.
  Matrix h() const { return {h_.data(), n_, n_}; }
  index_t tile_cols() const { return static_cast<index_t>(columns_.size()); }
  index_t first_col(index_t j) const { return column(j).first; }
  index_t width(index_t j) const { return column(j).width; }
  double damping(index_t j) const { return column(j).damping; }
  Matrix root(index_t j) const { return {column(j).root.data(), width(j), width(j)}; }
  Matrix inverse(index_t j) const { return {column(j).inverse.data(), width(j), width(j)}; }

 private:
  struct Column {
    index_t first;
    index_t width;
    double damping;
    DeviceView<double, D> root;     // (w, w)
    DeviceView<double, D> inverse;  // (w, w)
  };

  const Column& column(index_t j) const { return columns_[static_cast<std::size_t>(j)]; }

  index_t n_;
  DeviceView<double, D> h_;      // (n, n)
  std::vector<Column> columns_;  // (J)
};

}  // namespace hack::svd
