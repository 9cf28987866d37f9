#pragma once

#include <string_view>

#include "kernels/dtype.hpp"

namespace hack::svd {

/// How an archive stores the numbers of its tiles: in a type that weights may have in memory too, or as 8-bit integers
/// whose rows have a scale each (int8; see Int8Rows), which readers widen. Kernels never see the latter.
class FactorType {
 public:
  /// Any DType is a factor type: not explicit.
  constexpr FactorType(DType type) : type_(type) {}
  static const FactorType int8;

  constexpr bool has_scales() const { return has_scales_; }
  /// What its numbers are after reading: itself, f32 of int8.
  constexpr DType widened() const { return type_; }
  /// The type without scales that it competes with: itself, bf16 of int8.
  constexpr DType unscaled() const { return has_scales_ ? DType::bf16 : type_; }

  constexpr bool operator==(const FactorType&) const = default;

 private:
  constexpr FactorType(DType type, bool has_scales) : type_(type), has_scales_(has_scales) {}

  DType type_;
  bool has_scales_ = false;
};

inline constexpr FactorType FactorType::int8{DType::f32, true};

/// Bytes of a number; scales come on top.
constexpr index_t size_of(FactorType type) { return type.has_scales() ? 1 : hack::size_of(type.widened()); }

constexpr index_t scale_bytes = sizeof(bf16);

std::string_view to_string(FactorType type);

/// Reads "f32", "bf16", "f16" or "int8"; anything else is an Error.
FactorType parse_factor_type(std::string_view name);

}  // namespace hack::svd
