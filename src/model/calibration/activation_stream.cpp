#include "model/calibration/activation_stream.hpp"

#include <algorithm>

#include "kernels/elementwise.hpp"
#include "model/linear_layer.hpp"
#include "model/names.hpp"

namespace hack::model {

ActivationStream::ActivationStream(const Checkpoint& checkpoint, DType type, Queue<Device::cpu>& queue,
                                   const TokenWindows& windows, const comm::Communicator& comm)
    : context_(windows.context), hidden_(checkpoint.config().hidden_size) {
  const LlamaConfig& config = checkpoint.config();
  const WeightMatrix<> embedding =
      read_weights<Device::cpu>(checkpoint, embedding_name, {0, config.vocab_size}, {0, hidden_}, type);
  count_ = (windows.count() - comm.rank() + comm.size() - 1) / comm.size();
  x_ = Buffer<float>(count_ * context_ * hidden_);
  for (index_t w = 0; w < count_; ++w) {
    kernels::embed<Device::cpu>(queue, windows.window(w * comm.size() + comm.rank()), embedding.view(), 0, window(w));
  }
}

ActivationStream ActivationStream::copy() const {
  ActivationStream out;
  out.count_ = count_;
  out.context_ = context_;
  out.hidden_ = hidden_;
  out.x_ = Buffer<float>(x_.size());
  std::copy_n(x_.data(), x_.size(), out.x_.data());
  return out;
}

}  // namespace hack::model
