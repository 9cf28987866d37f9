#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "svd/tile/term.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// Encoded rows of a term, as its bytes have them; nothing is aligned.
struct EncodedArray {
  Codec codec = Codec::f32;
  index_t rows = 0;
  index_t cols = 0;
  const std::byte* codes = nullptr;   // rows of code_bytes(codec, cols)
  const std::byte* scales = nullptr;  // rows of scale_bytes(codec, cols)

  /// Writes what the rows stand for.
  void widen_to(float* out) const { widen(codec, codes, scales, rows, cols, out); }  // (rows, cols)
};

/// One term of a tile, or of a whole matrix, as it is stored: a structure whose numbers are in a codec.
struct StoredTerm {
  Structure structure = Structure::low_rank;
  Codec codec = Codec::f32;
  std::int32_t rank = 0;         ///< k
  index_t height = 0;            ///< h
  index_t width = 0;             ///< w
  std::vector<std::byte> bytes;  // the arrays of its structure, one after the other

  /// The a-th array of its structure; not of marks.
  EncodedArray array(std::size_t a) const;
  /// U of two factors, the coefficients of an interpolative term, the values of a dense one.
  EncodedArray left() const { return array(0); }
  /// Vᵀ of two factors or the skeleton of an interpolative term; not of a dense one.
  EncodedArray right() const { return array(1); }
  /// Singular values of two factors.
  std::vector<float> sigma() const;  // (k)
  /// Rows that an interpolative term keeps, ascending.
  std::vector<index_t> skeleton() const;  // (k)

 private:
  const std::byte* start_of(std::size_t a) const;
};

/// A tile is the sum of its terms.
struct StoredTile {
  std::vector<StoredTerm> terms;
};

/// Throws an Error that names the term's tile where its numbers are impossible: numbers, scales or singular values that
/// are not finite, scales or singular values below 0 where they may not be, marks that are not as many as its rank.
void check_term(const Tile& at, const StoredTerm& term);

}  // namespace hack::svd
