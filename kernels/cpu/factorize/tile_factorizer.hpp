#pragma once

#include <memory>

#include "kernels/cpu/factorize/gram_svd.hpp"
#include "kernels/cpu/factorize/library_svd.hpp"
#include "kernels/cpu/factorize/whole_svd.hpp"
#include "kernels/tile_svd.hpp"

namespace hack::kernels {

/// Factorizes tiles one after the other on one thread, by their Gram matrix: GramSvd where the tile is small enough,
/// else WholeSvd; by one call of LAPACK where their checks fail. Nothing but the constructor throws.
class TileFactorizer {
 public:
  /// Work lengths of a shape that is in the batch.
  struct Shape {
    index_t h, w;
    LibrarySvd::Lengths lengths;
  };

  /// Room for tiles of these shapes.
  explicit TileFactorizer(std::span<const Shape> shapes);

  /// Spectrum and vectors.
  SvdStatus factorize(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out);
  /// The same by one call of LAPACK.
  SvdStatus factorize_by_library(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out);
  /// The spectrum; the reduced form into `kept`, whose memory is there.
  SvdStatus reduce(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out, double* kept);
  /// The vectors.
  SvdStatus finish(MatrixView<const float> tile, const Shape& shape, const double* kept,
                   const TileSvd<Device::cpu>& out);

 private:
  bool find_spectrum(MatrixView<const float> tile, const Shape& shape, double* kept);
  SvdStatus write_spectrum(float* sigma, const double* kept, const Shape& shape) const;
  SvdStatus find_vectors(MatrixView<const float> tile, const Shape& shape, const double* kept,
                         const TileSvd<Device::cpu>& out);

  std::unique_ptr<GramSvd> gram_;  // where a shape fits it
  WholeSvd whole_;                 // of the others
  Buffer<double> kept_;            // of those, where both steps are one
  LibrarySvd library_;
  int exponent_ = 0;         // the scale of the last tile is 2^-exponent
  bool is_reduced_ = false;  // the last tile by the Gram matrix
};

}  // namespace hack::kernels
