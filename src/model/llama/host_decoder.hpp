#pragma once

#include <span>
#include <vector>

#include "model/llama/llama.hpp"
#include "model/llama/sampler.hpp"
#include "model/llama/shared_choice.hpp"

namespace hack::model {

/// Decodes token by token with the choice on the host of rank 0; the others follow. What it offers is DeviceDecoder's.
template <Device D>
class HostDecoder {
 public:
  HostDecoder(Llama<D>& llama, KvCache<D>& cache, Sampler& sampler, std::span<const int> prompt)
      : llama_(llama), cache_(cache), sampler_(sampler) {
    restart(prompt);
  }

  void restart(std::span<const int> prompt) { seen_.assign(prompt.begin(), prompt.end()); }

  int first(MatrixView<const float, D> state) {
    std::vector<float> logits = llama_.logits(state);
    std::vector<int> id = {choose_on_root(llama_, logits, [&] { return sampler_.choose(logits, seen_); })};
    share_choices(llama_, id, seen_);
    seen_.push_back(id[0]);
    return id[0];
  }
  int next() { return first(llama_.forward(std::span<const int>(seen_).last(1), cache_)); }

  bool is_replayed() const { return false; }

 private:
  Llama<D>& llama_;
  KvCache<D>& cache_;
  Sampler& sampler_;
  std::vector<int> seen_;
};

}  // namespace hack::model
