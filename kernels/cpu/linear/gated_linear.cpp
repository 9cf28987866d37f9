#include "kernels/gated_linear.hpp"

#include "kernels/elementwise.hpp"

namespace hack::kernels {

template <>
void gated_linear<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> x,
                               const AffineView<Device::cpu>& gate, const AffineView<Device::cpu>& up,
                               MatrixView<float> out, MatrixView<float> scratch) {
  affine(queue, x, gate, out);
  affine(queue, x, up, scratch);
  swiglu<Device::cpu>(queue, scratch, out);
}

}  // namespace hack::kernels
