#pragma once

#include <string>
#include <vector>

#include "kernels/queue.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/tile/wide_term.hpp"

namespace hack::svd {

/// A compressed matrix multiplied out, some rows at a time: sums of what its terms stand for, in double, rounded once.
/// Bits do not depend on the number of threads.
class DenseRows {
 public:
  /// `source` and `queue` outlive this.
  DenseRows(const FactorSource& source, std::string name, Queue<Device::cpu>& queue);

  const TileGrid& grid() const { return source_.matrix(name_).grid; }

  /// Writes the rows of tile row i: out (height of its tiles, columns of the matrix).
  void read(index_t i, MatrixView<float> out);

 private:
  const FactorSource& source_;
  std::string name_;
  Queue<Device::cpu>& queue_;
  std::vector<WideTerm> whole_;  // the terms that cover the whole matrix
  std::vector<double> sums_;     // (rows of a tile row, columns)
};

}  // namespace hack::svd
