#include <array>
#include <cstring>

#include "kernels/error.hpp"
#include "model/checkpoint/ggml_blocks.hpp"

namespace hack::model {

std::optional<GgmlType> ggml_type_of(Codec codec) {
  constexpr std::array joined = {GgmlType::f32,  GgmlType::f16,  GgmlType::bf16, GgmlType::q8_0,  GgmlType::q5_1,
                                 GgmlType::q5_0, GgmlType::q4_1, GgmlType::q4_0, GgmlType::iq4_nl};
  for (const GgmlType type : joined) {
    if (codec_of(type) == codec) return type;
  }
  return {};
}

void join_blocks(GgmlType type, const std::byte* codes, const std::byte* scales, index_t count, std::byte* row) {
  const CodecSpec& spec = spec_of(*codec_of(type));
  HACK_EXPECT(spec.groups == 0);
  const auto copy = [&](const std::byte* from, index_t bytes) {
    if (bytes > 0) std::memcpy(row, from, static_cast<std::size_t>(bytes));
    row += bytes;
  };
  const index_t of_codes = block_bytes(type) - spec.scale_bytes;
  if (spec.scale_bytes == 0) return copy(codes, count * of_codes);
  // Codecs have fifth bits behind the others, formats before them.
  const index_t fifth = spec.code_bits == 5 ? 4 : 0;
  for (index_t b = 0; b < count; ++b, codes += of_codes, scales += spec.scale_bytes) {
    copy(scales, spec.scale_bytes);
    copy(codes + of_codes - fifth, fifth);
    copy(codes, of_codes - fifth);
  }
}

}  // namespace hack::model
