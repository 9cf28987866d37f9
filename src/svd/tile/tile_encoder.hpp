#pragma once

#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/interpolative.hpp"
#include "kernels/queue.hpp"
#include "svd/archive/matrix_part.hpp"
#include "svd/tile/block_grid.hpp"

namespace hack::svd {

/// A tile (h, w) of rank k in its interpolative form.
struct InterpolativeNumbers {
  const std::uint8_t* marks = nullptr;   // (mark_bytes(h))
  MatrixView<const float> skeleton;      // (k, w)
  MatrixView<const float> coefficients;  // (h - k, k)
  kernels::InterpolativeStatus status = kernels::InterpolativeStatus::ok;
};

/// A dense tile (h, w) whose codes have been found. Blocks begin at its left edge.
struct TileCodes {
  const std::uint8_t* codes = nullptr;  // (h, w) as pack_block() takes them
  index_t ld = 0;                       ///< codes from one row to the next
  const BlockScale* scales = nullptr;   // (h, blocks of w)
  index_t scales_ld = 0;                ///< scales from one row to the next
};

/// What a tile (h, w) of rank k is made of. A dense tile needs its values alone; the others U diag(sigma) Vᵀ, of which
/// more than k columns, singular values and rows may be given: the first k count. An interpolative tile whose skeleton
/// rows have been found needs neither.
struct TileNumbers {
  MatrixView<const float> values;  // (h, w)
  MatrixView<const float> u;       // (h, >= k)
  const float* sigma = nullptr;    // (>= k)
  MatrixView<const float> vt;      // (>= k, w)
  /// For parts with spectra: the tile's singular values, at most min(h, w); zeros follow where there are fewer. Of a
  /// tile kept as two factors the first k are `sigma`.
  std::span<const float> spectrum;
  /// For codecs that leave a choice: what a squared error in each column costs, (w), at least 0; nothing where all cost
  /// the same.
  std::span<const double> column_weights;
  /// Of an interpolative tile, where its skeleton rows have been found.
  InterpolativeNumbers interpolative;
  /// Of a dense tile in a codec with blocks, where its codes have been found; they stand for `values`.
  TileCodes codes;
};

/// Appends the next tiles to a part, each as one term of the structure and rank that its choice says, in `codec`. As
/// int8, scales are chosen by what errors cost, and numbers of interpolative tiles make up for what others lost
/// (round_rows, InterpolativeRounder). Where the tiles lie follows from how many the part has; numbers[t] belongs to
/// choices[t]. Memory beside the result: a few MB a thread, or four copies of the largest tile in double. Bits do not
/// depend on the number of threads or on how tiles are spread over calls. An Error names matrix and tile where a number
/// is not finite or does not fit the codec; the part is of no use then.
void append_tiles(Queue<Device::cpu>& queue, MatrixPart& part, std::span<const TileChoice> choices,
                  std::span<const TileNumbers> numbers, Codec codec);

/// Makes room in a part for such tiles, as exactly as is needed: vectors that grow hold twice as much.
void reserve_tiles(MatrixPart& part, std::span<const TileChoice> choices, Codec codec);

/// Appends the numbers of x, row by row, in `type`.
void append_numbers(std::vector<std::byte>& to, MatrixView<const float> x, DType type);

}  // namespace hack::svd
