#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/plane_layout.hpp"
#include "svd/tile/range.hpp"

namespace hack::svd {

/// One plane of a compressed matrix (kernels::FactoredView) on device D.
template <Device D>
class FactoredPlane {
 public:
  /// Takes all that the layout has.
  explicit FactoredPlane(PlaneLayout layout);

  /// Memory held: codes, scales, singular values and marks.
  index_t bytes() const;
  /// Valid as long as this plane lives, wherever it is moved.
  const kernels::FactoredView<D>& view() const { return view_; }

 private:
  std::vector<index_t> row_offsets_, col_offsets_, block_offsets_, stack_sizes_, u_offsets_, v_offsets_;
  std::vector<index_t> v_scale_offsets_, u_scale_offsets_;
  std::vector<kernels::TileLayout> tiles_;
  Buffer<std::byte, D> u_, v_, u_scales_, v_scales_;
  Buffer<float, D> scale_;
  Buffer<std::uint8_t, D> marks_;
  std::unique_ptr<kernels::FactoredPlan<D>> plan_;
  kernels::FactoredView<D> view_;
};

/// The rows × cols block of a compressed matrix that one rank multiplies with, on device D: the sum of planes, each of
/// which has one term of some tiles, or of the whole matrix, in one codec.
///
/// The block may cut through tiles: columns of a tile need only these columns of its Vᵀ or skeleton rows; rows need
/// only these rows of its U or coefficients, but of an interpolative tile all skeleton rows, those above and below the
/// block too. That is how tensor-parallel inference takes its share of a matrix whatever the tile size, whole-matrix
/// SVDs included.
template <Device D>
class FactoredMatrix {
 public:
  /// Reads the block from the source. Codecs with scales stay what they are, other numbers are held in `type`, or
  /// as they are. Reads
  /// only tiles that meet the block, one tile row at a time; they are held as stored until all are there.
  FactoredMatrix(const FactorSource& source, const std::string& name, Range rows, Range cols,
                 std::optional<DType> type);

  index_t rows() const { return views_.front().rows; }
  index_t cols() const { return views_.front().cols; }
  /// Memory held: codes, scales, singular values and marks.
  index_t bytes() const;

  /// What the block is the sum of, at least one; valid as long as this matrix lives.
  std::span<const kernels::FactoredView<D>> planes() const { return views_; }

 private:
  std::vector<FactoredPlane<D>> planes_;
  std::vector<kernels::FactoredView<D>> views_;
};

}  // namespace hack::svd
