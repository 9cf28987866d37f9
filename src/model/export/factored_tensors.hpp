#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "svd/archive/factor_source.hpp"

namespace hack::model {

/// The terms of a compressed matrix as flat tensors, for programs that read safetensors. Terms of equal shape follow
/// each other as a batch of G terms; a batch has all its first arrays, then all its second ones:
///
///     terms     (T, 8) of I32     first row, first column, height, width, structure, rank, block, scales
///     numbers   1-D               arrays of plain numbers, (G, rows, columns) each, in the widest type among them
///     levels    1-D of I8         arrays of codecs with scales: what codes stand for, less their scales
///     scales    1-D of F32        theirs, (G, rows, blocks, scales): d of a block, and m where there is one
///     sigma     1-D of F32        singular values, (G, k)
///     marks     1-D of U8         skeleton rows of interpolative terms, (G, bytes), the first row in the lowest bit
///
/// `structure` is 0 for low_rank, 1 for dense, 2 for interpolative; `scales` is 0 for plain numbers, else a number is
/// d · level, or with 2 of them d · level + m, where `block` numbers of a row share them, or the whole row where it is
/// 0. Terms of rank 0 are left out, and a tensor that would be empty is not there. Each number of the archive's terms
/// is one here, and nothing is rounded.
class FactoredTensors {
 public:
  struct Tensor {
    std::string_view name;
    std::string_view type;  ///< as safetensors spells it
    index_t number_bytes;   ///< of one
    std::vector<index_t> shape;
  };

  /// Looks at the matrix's tables. `source` outlives this.
  FactoredTensors(const svd::FactorSource& source, std::string matrix);

  /// Those that are not empty.
  const std::vector<Tensor>& tensors() const { return tensors_; }

  /// Reads the terms, all of them: the bytes of each tensor.
  std::vector<std::vector<std::byte>> read() const;

 private:
  /// A term's row of `terms`; from the third column on it says which batch the term is in.
  using Row = std::array<std::int32_t, 8>;

  void list_terms();
  void list_tensors();

  const svd::FactorSource& source_;
  std::string matrix_;
  std::vector<Row> rows_;             // batch after batch
  std::vector<std::size_t> numbers_;  // of these terms in the matrix's table
  Codec plain_ = Codec::f32;          // of `numbers`
  std::vector<Tensor> tensors_;
};

}  // namespace hack::model
