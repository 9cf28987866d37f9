#pragma once

#include "svd/tile/term.hpp"

namespace hack::svd {

/// What the tables of a matrix count for each tile: a rank (int32) and a structure (uint8). Digests, extents and codecs
/// of terms are not counted.
constexpr index_t table_entry_bytes = 5;

/// What a dense matrix is counted in beside tiles in this codec: plain numbers of 16 bits where it has blocks.
constexpr Codec counted_as(Codec codec) { return spec_of(codec).block > 0 ? codec_of(plain_type(codec)) : codec; }

/// Bytes of a matrix or tile (h, w) as plain codes, without scales.
constexpr index_t dense_bytes(index_t h, index_t w, Codec codec) {
  return (h * w * spec_of(counted_as(codec)).code_bits + 7) / 8;
}

/// Bytes that an archive spends on a tile (h, w) of one term of rank k, its entry in the tables included. Every byte
/// count in policies and reports comes from here.
constexpr index_t stored_bytes(Structure structure, index_t h, index_t w, index_t k, Codec codec) {
  return table_entry_bytes + term_bytes(structure, codec, h, w, k);
}

}  // namespace hack::svd
