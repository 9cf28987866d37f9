#pragma once

#include <type_traits>

#include "model/llama/device_decoder.hpp"
#include "model/llama/host_decoder.hpp"

namespace hack::model {

/// On a GPU the logits stay there. On CPUs a gather and one choice are less work than a sum and a choice on each rank.
template <Device D>
using Decoder = std::conditional_t<D == Device::cuda, DeviceDecoder<D>, HostDecoder<D>>;

}  // namespace hack::model
