#pragma once

#include <memory>

#include "kernels/cpu/factorize/gram_svd.hpp"
#include "kernels/cpu/factorize/library_svd.hpp"
#include "kernels/cpu/factorize/whole_svd.hpp"
#include "kernels/tile_svd.hpp"

namespace hack::kernels {

/// Factorizes tiles one after another on one thread by their Gram matrices: GramSvd where the tile is small enough,
/// else WholeSvd; LibrarySvd where a check of these fails. Nothing but the constructor throws.
class TileFactorizer {
 public:
  /// Work lengths of a shape that is in the batch.
  struct Shape {
    index_t h, w;
    LibrarySvd::Lengths lengths;
  };

  /// Takes memory for tiles of these shapes.
  explicit TileFactorizer(std::span<const Shape> shapes);

  /// Finds the spectrum and the vectors.
  SvdStatus factorize(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out);
  /// Finds the spectrum and the vectors by one call of LAPACK.
  SvdStatus factorize_by_library(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out);
  /// Finds the spectrum, and writes the reduced form to `kept`, the caller's memory.
  SvdStatus reduce(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out, double* kept);
  /// Finds the vectors of a tile that reduce() has seen.
  SvdStatus finish(MatrixView<const float> tile, const Shape& shape, const double* kept,
                   const TileSvd<Device::cpu>& out);

 private:
  bool find_spectrum(MatrixView<const float> tile, const Shape& shape, double* kept);
  SvdStatus write_spectrum(float* sigma, const double* kept, const Shape& shape) const;
  SvdStatus find_vectors(MatrixView<const float> tile, const Shape& shape, const double* kept,
                         const TileSvd<Device::cpu>& out);

  std::unique_ptr<GramSvd> gram_;  // of shapes that fit it
  WholeSvd whole_;                 // of larger shapes
  Buffer<double> kept_;            // of whole_, where factorize() takes both steps at once
  LibrarySvd library_;
  int exponent_ = 0;         // the scale of the last tile is 2^-exponent
  bool is_reduced_ = false;  // whether the last tile went by its Gram matrix
};

}  // namespace hack::kernels
