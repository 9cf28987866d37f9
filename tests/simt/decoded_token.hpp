#pragma once

#include "model/llama/llama.hpp"
#include "tests/gpu/tiny_files.hpp"

namespace hack::tests {

/// A model whose rows are whole loads of 16 bytes, large enough for all blocks of the emulated GPU.
inline testing::TinyModel aligned_model(index_t layers) {
  return {.hidden = 192, .intermediate = 256, .layers = layers, .heads = 4, .kv_heads = 2, .head_dim = 16};
}

/// What `measure`, which calls its argument, finds while a token behind two others is decoded in bf16.
template <class Measure>
auto while_decoding(const TinyFiles& files, Measure measure) {
  const comm::Communicator self = comm::Communicator::self();
  Queue<Device::cuda> queue(1);
  model::Llama<Device::cuda> llama(files.source(DType::bf16), self, queue);
  model::KvCache<Device::cuda> cache = llama.make_cache(4);
  llama.forward(std::vector<int>{1, 2}, cache);
  return measure([&] { llama.forward(std::vector<int>{3}, cache); });
}

}  // namespace hack::tests
