#include "kernels/dtype.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/error.hpp"

namespace hack {

std::string_view to_string(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
  }
  return "?";
}

DType parse_dtype(std::string_view name) {
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    if (name == to_string(type)) return type;
  }
  fail("unknown number type '{}' (known: f32, bf16, f16)", name);
}

float to_float(f16 x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = x.bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    return std::copysign(std::ldexp(static_cast<float>(mantissa), -24), sign ? -1.0f : 1.0f);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

bf16 to_bf16(float x) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<std::uint16_t>(bits >> 16)};
}

f16 to_f16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const float magnitude = std::fabs(x);
  if (std::isnan(x)) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 65520.0f) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x1p-14f) {  // subnormal: a multiple of 2^-24; nearbyint rounds ties to even
    const float units = std::nearbyint(std::ldexp(magnitude, 24));
    return {static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(units))};
  }
  std::uint32_t rounded = bits & 0x7fffffffu;
  rounded += 0xfffu + ((rounded >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - (112u << 23)) >> 13))};
}

void convert(const void* from, DType from_type, void* to, DType to_type, index_t n) {
  if (n == 0) return;
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<std::size_t>(n * size_of(to_type)));
    return;
  }
  // By way of f32, which holds every bf16 and f16; pieces of it stay in L1.
  constexpr index_t piece = 1024;
  float buffer[piece];
  for (index_t first = 0; first < n; first += piece) {
    const index_t count = std::min(piece, n - first);
    const std::byte* source = static_cast<const std::byte*>(from) + first * size_of(from_type);
    std::byte* target = static_cast<std::byte*>(to) + first * size_of(to_type);
    const float* wide = buffer;
    if (from_type == DType::f32) {
      wide = reinterpret_cast<const float*>(source);
    } else {
      kernels::widen(source, from_type, to_type == DType::f32 ? reinterpret_cast<float*>(target) : buffer, count);
    }
    if (to_type == DType::bf16) kernels::narrow(wide, reinterpret_cast<bf16*>(target), count);
    if (to_type == DType::f16) kernels::narrow(wide, reinterpret_cast<f16*>(target), count);
  }
}

}  // namespace hack
