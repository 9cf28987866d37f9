#include "model/checkpoint/ggml_blocks.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/error.hpp"

namespace hack::model {

namespace {

/// What is to know of a format besides its decoder.
struct Format {
  GgmlType type;
  std::string_view name;
  index_t numbers;  // in a block
  index_t bytes;    // of a block
  std::optional<Codec> codec = {};
};

constexpr std::array formats = {
    Format{GgmlType::f32, "F32", 1, 4, Codec::f32},
    Format{GgmlType::f16, "F16", 1, 2, Codec::f16},
    Format{GgmlType::bf16, "BF16", 1, 2, Codec::bf16},
    Format{GgmlType::q8_0, "Q8_0", 32, 34, Codec::q8_0},
    Format{GgmlType::q5_1, "Q5_1", 32, 24, Codec::q5_1},
    Format{GgmlType::q5_0, "Q5_0", 32, 22, Codec::q5_0},
    Format{GgmlType::q4_1, "Q4_1", 32, 20, Codec::q4_1},
    Format{GgmlType::q4_0, "Q4_0", 32, 18, Codec::q4_0},
    Format{GgmlType::iq4_nl, "IQ4_NL", 32, 18, Codec::iq4_nl},
    Format{GgmlType::q6_k, "Q6_K", 256, 210, Codec::q6_k},
    Format{GgmlType::q5_k, "Q5_K", 256, 176, Codec::q5_k},
    Format{GgmlType::q4_k, "Q4_K", 256, 144, Codec::q4_k},
    Format{GgmlType::iq4_xs, "IQ4_XS", 256, 136},
    Format{GgmlType::q3_k, "Q3_K", 256, 110},
    Format{GgmlType::q2_k, "Q2_K", 256, 84},
};
constexpr index_t largest_block = 256;

const Format& format_of(GgmlType type) {
  const auto at = std::find_if(formats.begin(), formats.end(), [&](const Format& f) { return f.type == type; });
  HACK_EXPECT(at != formats.end());
  return *at;
}

float load_half(const std::byte* from) {
  f16 x;
  std::memcpy(&x, from, sizeof x);
  return to_float(x);
}

int low(std::byte b) { return std::to_integer<int>(b) & 15; }
int high(std::byte b) { return std::to_integer<int>(b) >> 4; }

// Every product below is of a half (11 bits) and small integers and fits a float's 24 bits, or is the only rounding of
// its expression: results do not depend on whether the compiler fuses multiplications and additions.

/// 2 bytes scale, 32 signed bytes.
void decode_q8_0(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const auto* q = reinterpret_cast<const std::int8_t*>(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(q[i]) * scale;
}

/// 2 bytes scale, 16 bytes: number i in the low half of byte i, number 16 + i in its high half; 8 means zero.
void decode_q4_0(const std::byte* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(low(block[2 + i]) - 8);
    out[16 + i] = scale * static_cast<float>(high(block[2 + i]) - 8);
  }
}

/// 2 bytes scale, 2 bytes minimum, 16 bytes as in Q4_0.
void decode_q4_1(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(low(block[4 + i])) + minimum;
    out[16 + i] = scale * static_cast<float>(high(block[4 + i])) + minimum;
  }
}

/// Number i, 0 to 31, of a block with fifth bits: 4 bytes whose bit i is number i's, then the other bits as in Q4_0.
int five_bits(const std::byte* fifth, int i) {
  const std::byte nibbles = fifth[4 + i % 16];
  return (i < 16 ? low(nibbles) : high(nibbles)) | (std::to_integer<int>(fifth[i / 8]) >> i % 8 & 1) << 4;
}

/// 2 bytes scale, five bits a number; 16 means zero.
void decode_q5_0(const std::byte* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(five_bits(block + 2, i) - 16);
}

/// 2 bytes scale, 2 bytes minimum, five bits a number.
void decode_q5_1(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(five_bits(block + 4, i)) + minimum;
}

/// 2 bytes scale, 16 bytes as in Q4_0; a number's four bits are a place in a table.
void decode_iq4_nl(const std::byte* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(iq4_nl_levels[low(block[2 + i])]);
    out[16 + i] = scale * static_cast<float>(iq4_nl_levels[high(block[2 + i])]);
  }
}

/// Scales and minima of the eight groups of 32 in a Q4_K or Q5_K block.
struct GroupScales {
  std::array<float, 8> scale;
  std::array<float, 8> minimum;
};

/// 2 bytes scale of scales, 2 bytes scale of minima, 12 bytes with 8 + 8 numbers of 6 bits: groups 0 to 3 have theirs
/// in the low bits of bytes 0-3 (scale) and 4-7 (minimum), whose top two bits are the top bits of groups 4 to 7; the
/// low four bits of those are in bytes 8-11, scale below minimum.
GroupScales decode_group_scales(const std::byte* block) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const auto byte = [&](int i) { return std::to_integer<int>(block[4 + i]); };
  GroupScales out{};
  for (int i = 0; i < 4; ++i) {
    out.scale[i] = scale * static_cast<float>(byte(i) & 63);
    out.minimum[i] = minimum * static_cast<float>(byte(4 + i) & 63);
    out.scale[4 + i] = scale * static_cast<float>((byte(8 + i) & 15) | (byte(i) >> 6) << 4);
    out.minimum[4 + i] = minimum * static_cast<float>((byte(8 + i) >> 4) | (byte(4 + i) >> 6) << 4);
  }
  return out;
}

/// 16 bytes of scales, 128 bytes: groups 2p and 2p + 1 are the low and high halves of bytes 32p…
void decode_q4_k(const std::byte* block, float* out) {
  const GroupScales groups = decode_group_scales(block);
  for (int p = 0; p < 4; ++p) {
    const std::byte* q = block + 16 + 32 * p;
    for (int i = 0; i < 32; ++i) {
      out[64 * p + i] = groups.scale[2 * p] * static_cast<float>(low(q[i])) - groups.minimum[2 * p];
      out[64 * p + 32 + i] = groups.scale[2 * p + 1] * static_cast<float>(high(q[i])) - groups.minimum[2 * p + 1];
    }
  }
}

/// 16 bytes of scales, 32 bytes whose bit g is the fifth bit of group g, 128 bytes as in Q4_K.
void decode_q5_k(const std::byte* block, float* out) {
  const GroupScales groups = decode_group_scales(block);
  const std::byte* fifth = block + 16;
  for (int p = 0; p < 4; ++p) {
    const std::byte* q = block + 48 + 32 * p;
    for (int i = 0; i < 32; ++i) {
      const int bits = std::to_integer<int>(fifth[i]) >> (2 * p);
      const int first = low(q[i]) | (bits & 1) << 4;
      const int second = high(q[i]) | (bits >> 1 & 1) << 4;
      out[64 * p + i] = groups.scale[2 * p] * static_cast<float>(first) - groups.minimum[2 * p];
      out[64 * p + 32 + i] = groups.scale[2 * p + 1] * static_cast<float>(second) - groups.minimum[2 * p + 1];
    }
  }
}

/// 128 bytes low four bits, 64 bytes high two bits, 16 signed bytes of scales (one for 16 numbers), 2 bytes scale of
/// scales; 32 means zero. Each half of the block: rows of 32 numbers r = 0…3 share 64 low and 32 high bytes.
void decode_q6_k(const std::byte* block, float* out) {
  const float scale = load_half(block + 208);
  const auto* scales = reinterpret_cast<const std::int8_t*>(block + 192);
  for (int half = 0; half < 2; ++half) {
    const std::byte* lower = block + 64 * half;
    const std::byte* upper = block + 128 + 32 * half;
    for (int r = 0; r < 4; ++r) {
      for (int i = 0; i < 32; ++i) {
        const std::byte nibbles = lower[32 * (r % 2) + i];
        const int four = r < 2 ? low(nibbles) : high(nibbles);
        const int two = std::to_integer<int>(upper[i]) >> (2 * r) & 3;
        const int at = 128 * half + 32 * r + i;
        out[at] = scale * static_cast<float>(scales[at / 16]) * static_cast<float>((four | two << 4) - 32);
      }
    }
  }
}

/// 2 bytes scale, 2 bytes with the two top bits of eight small scales, 4 bytes with their low four bits (32 means
/// zero), then eight groups of 32 numbers as in IQ4_NL.
void decode_iq4_xs(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const int top = std::to_integer<int>(block[2]) | std::to_integer<int>(block[3]) << 8;
  for (int g = 0; g < 8; ++g) {
    const std::byte pair = block[4 + g / 2];
    const int small = (g % 2 == 0 ? low(pair) : high(pair)) | (top >> 2 * g & 3) << 4;
    const float of_group = scale * static_cast<float>(small - 32);
    const std::byte* q = block + 8 + 16 * g;
    for (int i = 0; i < 16; ++i) {
      out[32 * g + i] = of_group * static_cast<float>(iq4_nl_levels[low(q[i])]);
      out[32 * g + 16 + i] = of_group * static_cast<float>(iq4_nl_levels[high(q[i])]);
    }
  }
}

/// Two bits of number i, 0 to 255: each half of a block has 32 bytes, which its four rows of 32 numbers share.
int two_bits(const std::byte* q, int i) {
  return std::to_integer<int>(q[i / 128 * 32 + i % 32]) >> i % 128 / 32 * 2 & 3;
}

/// 32 bytes whose bit i / 32 is number i's third bit, which means 4 less where it is not set; 64 bytes with two bits a
/// number; 12 bytes with a scale of 6 bits for 16 numbers each (32 means zero): the low four bits of scales 0 to 7 and
/// 8 to 15 share 8 bytes, the two top bits of scales i, i + 4 and so on are in byte 8 + i; 2 bytes scale of scales.
void decode_q3_k(const std::byte* block, float* out) {
  const std::byte* const small = block + 96;
  const float scale = load_half(block + 108);
  for (int i = 0; i < 256; ++i) {
    const int g = i / 16;
    const int four = g < 8 ? low(small[g]) : high(small[g - 8]);
    const int of_group = four | (std::to_integer<int>(small[8 + g % 4]) >> g / 4 * 2 & 3) << 4;
    const int third = std::to_integer<int>(block[i % 32]) >> i / 32 & 1;
    const int q = two_bits(block + 32, i) - 4 * (1 - third);
    out[i] = scale * static_cast<float>(of_group - 32) * static_cast<float>(q);
  }
}

/// 16 bytes with scale (low half) and minimum of 16 numbers each, 64 bytes with two bits a number, 2 bytes scale of
/// scales, 2 bytes scale of minima.
void decode_q2_k(const std::byte* block, float* out) {
  const float scale = load_half(block + 80), minimum = load_half(block + 82);
  for (int i = 0; i < 256; ++i) {
    const std::byte small = block[i / 16];
    const float of_group = scale * static_cast<float>(low(small)), least = minimum * static_cast<float>(high(small));
    out[i] = of_group * static_cast<float>(two_bits(block + 16, i)) - least;
  }
}

using Decoder = void (*)(const std::byte*, float*);

Decoder decoder_of(GgmlType type) {
  constexpr std::pair<GgmlType, Decoder> decoders[] = {
      {GgmlType::q8_0, decode_q8_0},     {GgmlType::q5_1, decode_q5_1}, {GgmlType::q5_0, decode_q5_0},
      {GgmlType::iq4_nl, decode_iq4_nl}, {GgmlType::q4_0, decode_q4_0}, {GgmlType::q4_1, decode_q4_1},
      {GgmlType::q4_k, decode_q4_k},     {GgmlType::q5_k, decode_q5_k}, {GgmlType::q6_k, decode_q6_k},
      {GgmlType::iq4_xs, decode_iq4_xs}, {GgmlType::q3_k, decode_q3_k}, {GgmlType::q2_k, decode_q2_k}};
  for (const auto& [known, decode] : decoders) {
    if (known == type) return decode;
  }
  return nullptr;
}

/// Numbers stored one by one.
void decode_plain(DType type, const std::byte* from, index_t count, float* out) {
  const index_t size = size_of(type);
  if (reinterpret_cast<std::uintptr_t>(from) % static_cast<std::uintptr_t>(size) == 0) {
    convert(from, type, out, DType::f32, count);
    return;
  }
  constexpr index_t chunk = 1024;
  alignas(float) std::array<std::byte, chunk * sizeof(float)> aligned;
  for (index_t i = 0; i < count; i += chunk) {
    const index_t n = std::min(chunk, count - i);
    std::memcpy(aligned.data(), from + i * size, static_cast<std::size_t>(n * size));
    convert(aligned.data(), type, out + i, DType::f32, n);
  }
}

void decode_blocks(GgmlType type, const std::byte* row, index_t first, index_t count, float* out) {
  const Decoder decode = decoder_of(type);
  const index_t size = block_size(type);
  const index_t bytes = block_bytes(type);
  std::array<float, largest_block> whole;
  for (index_t done = 0; done < count;) {
    const index_t skip = (first + done) % size;
    const index_t n = std::min(size - skip, count - done);
    const std::byte* block = row + (first + done) / size * bytes;
    if (n == size) {
      decode(block, out + done);
    } else {
      decode(block, whole.data());
      std::copy_n(whole.data() + skip, n, out + done);
    }
    done += n;
  }
}

/// Four bits of 32 numbers, a byte each in its low or high half (`shift`), as a run of a codec has them.
void put_nibbles(const std::byte* from, int shift, std::byte* run) {
  for (int j = 0; j < 16; ++j) {
    run[j] = (from[j] >> shift & std::byte{15}) | (from[16 + j] >> shift & std::byte{15}) << 4;
  }
}

/// Q4_K's and Q5_K's 128 bytes, as their decoders read them, and of Q5_K the 32 bytes of fifth bits before them.
void put_runs_of_groups(const std::byte* block, bool has_fifth, std::byte* codes) {
  const std::byte* const four = block + (has_fifth ? 32 : 0);
  for (int g = 0; g < 8; ++g) {
    std::byte* const run = codes + g * (has_fifth ? 20 : 16);
    put_nibbles(four + 32 * (g / 2), g % 2 * 4, run);
    for (int i = 0; has_fifth && i < 32; ++i) {
      if (i % 8 == 0) run[16 + i / 8] = {};
      run[16 + i / 8] |= (block[i] >> g & std::byte{1}) << i % 8;
    }
  }
}

/// Q6_K's 128 + 64 bytes, as decode_q6_k() reads them.
void put_runs_of_q6_k(const std::byte* block, std::byte* codes) {
  for (int n = 0; n < 8; ++n, codes += 24) {
    const int half = n / 4, r = n % 4;
    put_nibbles(block + 64 * half + 32 * (r % 2), r / 2 * 4, codes);
    const std::byte* const upper = block + 128 + 32 * half;
    for (int j = 0; j < 8; ++j) {
      codes[16 + j] = {};
      for (int i = 0; i < 4; ++i) codes[16 + j] |= (upper[j + 8 * i] >> 2 * r & std::byte{3}) << 2 * i;
    }
  }
}

/// Blocks of 256: one's codes and scales.
void split_grouped(GgmlType type, const std::byte* block, std::byte* codes, std::byte* scales) {
  if (type == GgmlType::q6_k) {
    std::memcpy(scales, block + 192, 18);
    return put_runs_of_q6_k(block, codes);
  }
  std::memcpy(scales, block, 16);
  put_runs_of_groups(block + 16, type == GgmlType::q5_k, codes);
}

}  // namespace

std::optional<GgmlType> ggml_type(std::uint32_t code) {
  for (const Format& format : formats) {
    if (static_cast<std::uint32_t>(format.type) == code) return format.type;
  }
  return {};
}

std::string_view to_string(GgmlType type) { return format_of(type).name; }

std::string ggml_type_name(std::uint32_t code) {
  // ggml.h of llama.cpp, of 2025.
  constexpr std::pair<std::uint32_t, const char*> others[] = {
      {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
      {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
      {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"}};
  if (const std::optional<GgmlType> type = ggml_type(code)) return std::string(to_string(*type));
  for (const auto& [other, name] : others) {
    if (other == code) return name;
  }
  return "GGML type " + std::to_string(code);
}

std::string known_ggml_types() {
  std::string names;
  for (const Format& format : formats) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

index_t block_size(GgmlType type) { return format_of(type).numbers; }
index_t block_bytes(GgmlType type) { return format_of(type).bytes; }

std::optional<Codec> codec_of(GgmlType type) { return format_of(type).codec; }

void split_blocks(GgmlType type, const std::byte* row, index_t first, index_t count, std::byte* codes,
                  std::byte* scales) {
  const Format& format = format_of(type);
  const auto copy = [](const std::byte* from, index_t bytes, std::byte*& to) {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
    to += bytes;
  };
  const std::byte* block = row + first * format.bytes;
  const index_t of_scales = spec_of(*format.codec).scale_bytes;
  if (of_scales == 0) return copy(block, count * format.bytes, codes);
  if (spec_of(*format.codec).groups > 0) {
    const index_t of_codes = format.bytes - of_scales;
    for (index_t b = 0; b < count; ++b) {
      split_grouped(type, block + b * format.bytes, codes + b * of_codes, scales + b * of_scales);
    }
    return;
  }
  // Codecs have fifth bits behind the others, formats before them.
  const index_t fifth = type == GgmlType::q5_0 || type == GgmlType::q5_1 ? 4 : 0;
  for (index_t b = 0; b < count; ++b, block += format.bytes) {
    copy(block, of_scales, scales);
    copy(block + of_scales + fifth, format.bytes - of_scales - fifth, codes);
    copy(block + of_scales, fifth, codes);
  }
}

void dequantize(GgmlType type, const std::byte* row, index_t first, index_t count, float* out) {
  switch (type) {
    case GgmlType::f32:
      return decode_plain(DType::f32, row + first * 4, count, out);
    case GgmlType::f16:
      return decode_plain(DType::f16, row + first * 2, count, out);
    case GgmlType::bf16:
      return decode_plain(DType::bf16, row + first * 2, count, out);
    default:
      return decode_blocks(type, row, first, count, out);
  }
}

}  // namespace hack::model
