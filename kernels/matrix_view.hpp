#pragma once

#include <type_traits>

#include "kernels/buffer.hpp"
#include "kernels/codec.hpp"

namespace hack {

/// A matrix somebody else owns: element (i, j) at data[i * ld + j]. Row-major; ld >= cols.
template <class T, Device D = Device::cpu>
struct MatrixView {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t ld = 0;

  MatrixView() = default;
  MatrixView(T* data_, index_t rows_, index_t cols_, index_t ld_) : data(data_), rows(rows_), cols(cols_), ld(ld_) {}
  MatrixView(T* data_, index_t rows_, index_t cols_) : MatrixView(data_, rows_, cols_, cols_) {}

  T& operator()(index_t i, index_t j) const { return data[i * ld + j]; }
  T* row(index_t i) const { return data + i * ld; }

  /// Rows [i, i + m) and columns [j, j + n).
  MatrixView block(index_t i, index_t j, index_t m, index_t n) const { return {data + i * ld + j, m, n, ld}; }
  MatrixView rows_from(index_t i, index_t m) const { return block(i, 0, m, cols); }

  /// The same matrix, not to be written through.
  operator MatrixView<const T, D>() const requires(!std::is_const_v<T>) { return {data, rows, cols, ld}; }
};

/// A weight matrix somebody else owns, in the codec it is held in.
template <Device D = Device::cpu>
struct WeightView {
  const void* data = nullptr;  ///< codes
  Codec codec = Codec::f32;
  index_t rows = 0;
  index_t cols = 0;
  index_t ld = 0;                     ///< numbers from one row to the next; whole blocks of a codec that has blocks
  const std::byte* scales = nullptr;  ///< row after row; of a codec without scales nothing

  const std::byte* row(index_t i) const { return static_cast<const std::byte*>(data) + i * code_bytes(codec, ld); }
  const std::byte* row_scales(index_t i) const {
    return scales == nullptr ? nullptr : scales + i * scale_bytes(codec, ld);
  }
  WeightView rows_from(index_t i, index_t m) const { return {row(i), codec, m, cols, ld, row_scales(i)}; }
};

/// Owns a weight matrix (rows, cols), row-major and contiguous, in a codec.
template <Device D = Device::cpu>
class WeightMatrix {
 public:
  WeightMatrix() = default;
  WeightMatrix(index_t rows, index_t cols, Codec codec)
      : codes_(rows * code_bytes(codec, cols)),
        scales_(rows * scale_bytes(codec, cols)),
        rows_(rows),
        cols_(cols),
        codec_(codec) {}
  WeightMatrix(index_t rows, index_t cols, DType type) : WeightMatrix(rows, cols, codec_of(type)) {}

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  Codec codec() const { return codec_; }
  index_t bytes() const { return codes_.bytes() + scales_.bytes(); }
  std::byte* data() { return codes_.data(); }
  std::byte* scales() { return scales_.data(); }  // none where the codec has none
  WeightView<D> view() const {
    return {codes_.data(),
            codec_,
            rows_,
            cols_,
            padded_length(codec_, cols_),
            has_scales(codec_) ? scales_.data() : nullptr};
  }

 private:
  Buffer<std::byte, D> codes_, scales_;
  index_t rows_ = 0;
  index_t cols_ = 0;
  Codec codec_ = Codec::f32;
};

}  // namespace hack
