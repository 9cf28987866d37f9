#pragma once

#include "kernels/cpu/linear/int8_dot.hpp"
#include "kernels/cpu/linear/matvec.hpp"

namespace hack::kernels {

/// The product of few tokens with weights in this codec that the queue asks for.
inline auto few_product(const Queue<Device::cpu>& queue, Codec codec) {
  return queue.products() == Products::fast && has_int8_dot(codec) ? multiply_few_int8 : multiply_few;
}

}  // namespace hack::kernels
