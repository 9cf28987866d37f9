#include "model/calibration/activation_stream.hpp"

#include "kernels/copy.hpp"
#include "kernels/elementwise.hpp"
#include "model/llama/linear_layer.hpp"
#include "model/llama/names.hpp"

namespace hack::model {

template <Device D>
ActivationStream<D>::ActivationStream(const Checkpoint& checkpoint, DType type, Queue<D>& queue,
                                      const TokenWindows& windows, const comm::Communicator& comm)
    : context_(windows.context), hidden_(checkpoint.config().hidden_size) {
  const LlamaConfig& config = checkpoint.config();
  const WeightMatrix<D> embedding =
      read_weights<D>(checkpoint, embedding_name, {0, config.vocab_size}, {0, hidden_}, type);
  count_ = (windows.count() - comm.rank() + comm.size() - 1) / comm.size();
  x_ = Buffer<float, D>(count_ * context_ * hidden_);
  for (index_t w = 0; w < count_; ++w) {
    kernels::embed<D>(queue, windows.window(w * comm.size() + comm.rank()), embedding.view(), 0, window(w));
  }
  queue.wait();  // the table has been read
}

template <Device D>
ActivationStream<D> ActivationStream<D>::copy(Queue<D>& queue) const {
  ActivationStream out;
  out.count_ = count_;
  out.context_ = context_;
  out.hidden_ = hidden_;
  out.x_ = Buffer<float, D>(x_.size());
  kernels::copy<D>(queue, tokens(), out.tokens());
  return out;
}

template class ActivationStream<Device::cpu>;
template class ActivationStream<Device::cuda>;

}  // namespace hack::model
