#pragma once

#include "svd/tile/term.hpp"

namespace hack::svd {

/// What the tables of a matrix count for each tile: a rank (int32) and a structure (uint8). Digests, extents and codecs
/// of terms are not counted.
constexpr index_t table_entry_bytes = 5;

/// Bytes that a dense matrix or tile (h, w) is counted as beside terms in this codec: numbers of 16 bits, or of f32.
constexpr index_t dense_bytes(index_t h, index_t w, Codec codec) { return h * w * size_of(plain_type(codec)); }

/// Bytes that an archive spends on a tile (h, w) of one term of rank k, its entry in the tables included. Every byte
/// count in policies and reports comes from here.
constexpr index_t stored_bytes(Structure structure, index_t h, index_t w, index_t k, Codec codec) {
  return table_entry_bytes + term_bytes(structure, codec, h, w, k);
}

}  // namespace hack::svd
