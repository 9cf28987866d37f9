#pragma once

#include <cstring>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// Copies rows of `bytes` within memory of D, in the order of the queue; pitches are bytes from one row to the next.
/// The two do not overlap.
template <Device D>
void copy_rows(Queue<D>& queue, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
               std::size_t bytes, index_t rows);
template <>
void copy_rows<Device::cuda>(Queue<Device::cuda>& queue, void* to, std::size_t to_pitch, const void* from,
                             std::size_t from_pitch, std::size_t bytes, index_t rows);
template <>
inline void copy_rows<Device::cpu>(Queue<Device::cpu>&, void* to, std::size_t to_pitch, const void* from,
                                   std::size_t from_pitch, std::size_t bytes, index_t rows) {
  if (to_pitch == bytes && from_pitch == bytes) {
    bytes *= static_cast<std::size_t>(rows);
    rows = 1;
  }
  if (bytes == 0) return;
  for (index_t i = 0; i < rows; ++i) {
    const auto row = static_cast<std::size_t>(i);
    std::memcpy(static_cast<std::byte*>(to) + row * to_pitch, static_cast<const std::byte*>(from) + row * from_pitch,
                bytes);
  }
}

/// to = from; both (m, n) on D.
template <Device D, class T>
void copy(Queue<D>& queue, MatrixView<const T, D> from, MatrixView<T, D> to) {
  HACK_EXPECT(from.rows == to.rows && from.cols == to.cols);
  const auto bytes_of = [](index_t numbers) { return static_cast<std::size_t>(numbers) * sizeof(T); };
  copy_rows<D>(queue, to.data, bytes_of(to.ld), from.data, bytes_of(from.ld), bytes_of(to.cols), to.rows);
}

}  // namespace hack::kernels
