#pragma once

#include "kernels/cuda/codec/plain.cuh"

namespace hack::kernels::cuda {

/// int8, with a scale in bf16 for each row. Its codes have no more digits than a bf16, so that tensor cores multiply
/// them exactly; sums are scaled.
template <>
struct CodecOf<std::int8_t> {
  static constexpr Codec codec = Codec::int8;
  static constexpr int block = 1;
  static constexpr bool scales_rows = true;
  using Operand = bf16;

  template <class Exec>
  HACK_BODY static float widen(Exec& /*exec*/, std::int8_t code) {
    return static_cast<float>(code);
  }
  template <class Exec>
  HACK_BODY static Operand operand(Exec& exec, std::int8_t code) {
    return exec.template narrow<bf16>(static_cast<float>(code));
  }
  template <class Exec>
  HACK_BODY static float scale(Exec& exec, const std::byte* scales, index_t row) {
    return exec.widen(exec.weight(reinterpret_cast<const bf16*>(scales)[row]));
  }
};

}  // namespace hack::kernels::cuda
