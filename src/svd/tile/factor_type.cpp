#include "svd/tile/factor_type.hpp"

#include "kernels/error.hpp"

namespace hack::svd {

std::string_view to_string(FactorType type) { return type.has_scales() ? "int8" : hack::to_string(type.widened()); }

FactorType parse_factor_type(std::string_view name) {
  for (FactorType type : {FactorType(DType::f32), FactorType(DType::bf16), FactorType(DType::f16), FactorType::int8}) {
    if (name == to_string(type)) return type;
  }
  fail("unknown number type '{}' (known: f32, bf16, f16, int8)", name);
}

}  // namespace hack::svd
