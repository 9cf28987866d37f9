#pragma once

#include <type_traits>

#include "model/device_chooser.hpp"
#include "model/host_chooser.hpp"

namespace hack::model {

/// On a GPU the logits stay there. On CPUs a gather and one choice are less work than a sum and a choice on each rank.
template <Device D>
using Chooser = std::conditional_t<D == Device::cuda, DeviceChooser<D>, HostChooser<D>>;

}  // namespace hack::model
