#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/codec.hpp"

namespace hack::model {

/// Number formats of weights in files, with the numbers that GGUF gives them. The quantized ones keep `block_size`
/// neighbours of a row together in one block of `block_bytes`.
enum class GgmlType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
};

/// The format that GGUF numbers `code`, if it is one that `dequantize` knows.
std::optional<GgmlType> ggml_type(std::uint32_t code);

/// GGUF's name: "F32", "Q4_K", …
std::string_view to_string(GgmlType type);

/// GGUF's name of the format that it numbers `code`, one that is not read among them; "GGML type N" of others.
std::string ggml_type_name(std::uint32_t code);

/// Names of all known formats, for messages.
std::string known_ggml_types();

index_t block_size(GgmlType type);   ///< numbers in a block
index_t block_bytes(GgmlType type);  ///< bytes of a block

/// Bytes of a row of `cols` numbers; cols is a multiple of block_size(type).
inline index_t row_bytes(GgmlType type, index_t cols) { return cols / block_size(type) * block_bytes(type); }

/// The codec whose numbers are the format's own, bit for bit; nothing where there is none.
std::optional<Codec> codec_of(GgmlType type);

/// Copies blocks [first, first + count) of the row at `row`, of a format that has a codec, to where the codec has codes
/// and scales; plain numbers count as blocks of one.
void split_blocks(GgmlType type, const std::byte* row, index_t first, index_t count, std::byte* codes,
                  std::byte* scales);

/// The format whose numbers are the codec's own, bit for bit; nothing where there is none.
std::optional<GgmlType> ggml_type_of(Codec codec);

/// Puts `count` blocks together from a codec's codes and scales, at `row`: the reverse of split_blocks() for formats of
/// blocks of 32 and plain numbers, which count as blocks of one.
void join_blocks(GgmlType type, const std::byte* codes, const std::byte* scales, index_t count, std::byte* row);

/// Decodes numbers [first, first + count) of the row at `row` into out (count); only blocks that hold one of them are
/// read. Bit-equal to the reference decoder of the gguf Python package. `row` needs no alignment.
void dequantize(GgmlType type, const std::byte* row, index_t first, index_t count, float* out);

}  // namespace hack::model
