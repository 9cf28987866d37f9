#pragma once

#include "tests/gpu/device_data.hpp"
#include "tests/kernels/random_factors.hpp"

namespace hack::tests {

/// The same matrix in device memory.
class DeviceFactors {
 public:
  explicit DeviceFactors(const RandomFactors& host)
      : u_(to_device<Device::cuda>(host.u_bytes.data(), std::ssize(host.u_bytes))),
        v_(to_device<Device::cuda>(host.v_bytes.data(), std::ssize(host.v_bytes))),
        u_scales_(to_device<Device::cuda>(host.u_scales.data(), std::ssize(host.u_scales))),
        v_scales_(to_device<Device::cuda>(host.v_scales.data(), std::ssize(host.v_scales))),
        scale_(to_device<Device::cuda>(host.scale.data(), std::ssize(host.scale))),
        marks_(to_device<Device::cuda>(host.marks.data(), std::ssize(host.marks))),
        view_(view_without_plan(host.view)),
        plan_(view_, host.marks.data()) {
    view_.plan = &plan_;
  }
  const kernels::FactoredView<Device::cuda>& view() const { return view_; }

 private:
  kernels::FactoredView<Device::cuda> view_without_plan(const kernels::FactoredView<Device::cpu>& w) const {
    return {w.rows,        w.cols,        w.codec,          w.row_offsets,    w.col_offsets,     w.block_offsets,
            w.stack_sizes, w.tiles,       u_.data(),        w.u_offsets,      v_.data(),         w.v_offsets,
            scale_.data(), marks_.data(), u_scales_.data(), v_scales_.data(), w.v_scale_offsets, w.u_scale_offsets};
  }

  Buffer<std::byte, Device::cuda> u_, v_, u_scales_, v_scales_;
  Buffer<float, Device::cuda> scale_;
  Buffer<std::uint8_t, Device::cuda> marks_;
  kernels::FactoredView<Device::cuda> view_;
  kernels::FactoredPlan<Device::cuda> plan_;
};

}  // namespace hack::tests
