#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hack {

/// Sizes and indices are signed: differences of them are meant.
using index_t = std::ptrdiff_t;

/// bfloat16: the upper half of a float.
struct bf16 {
  std::uint16_t bits;
};

/// IEEE binary16.
struct f16 {
  std::uint16_t bits;
};

/// Number types in which weights are stored.
enum class DType : std::uint8_t { f32, bf16, f16 };

constexpr index_t size_of(DType type) { return type == DType::f32 ? 4 : 2; }

std::string_view to_string(DType type);

/// Reads "f32", "bf16" or "f16"; anything else is an Error.
DType parse_dtype(std::string_view name);

constexpr float to_float(float x) { return x; }
constexpr float to_float(bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }
float to_float(f16 x);

/// Rounds to nearest, ties to even; NaN stays NaN, what is too large becomes infinite.
bf16 to_bf16(float x);
f16 to_f16(float x);

/// Converts n numbers of `from_type` at `from` into `to_type` at `to`; the ranges do not overlap.
void convert(const void* from, DType from_type, void* to, DType to_type, index_t n);

}  // namespace hack
