#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/dtype.hpp"

namespace hack::kernels {

// Marks on the rows of a tile: bit r % 8 of byte r / 8 belongs to row r.

/// Bytes of the marks of `rows` rows.
constexpr index_t mark_bytes(index_t rows) { return (rows + 7) / 8; }

inline bool is_marked(const std::uint8_t* marks, index_t row) { return (marks[row / 8] >> (row % 8) & 1) != 0; }

inline void mark(std::uint8_t* marks, index_t row) {
  marks[row / 8] = static_cast<std::uint8_t>(marks[row / 8] | 1 << (row % 8));
}

/// How many of the first `rows` rows are marked.
inline index_t count_marks(const std::uint8_t* marks, index_t rows) {
  index_t count = 0, row = 0;
  for (; row + 64 <= rows; row += 64) {
    std::uint64_t word;
    std::memcpy(&word, marks + row / 8, sizeof(word));
    count += std::popcount(word);
  }
  for (; row + 8 <= rows; row += 8) count += std::popcount(marks[row / 8]);
  for (; row < rows; ++row) count += is_marked(marks, row);
  return count;
}

}  // namespace hack::kernels
