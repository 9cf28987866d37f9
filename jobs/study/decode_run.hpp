#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "model/llama/device_decoder.hpp"
#include "model/llama/llama.hpp"

namespace hack::jobs {

/// Decodes a sequence again and again, one forward pass a token: on a GPU the likeliest tokens behind the first id,
/// each step replayed as a graph where that is possible; on CPUs the ids themselves, their logits left unread.
template <Device D>
class DecodeRun {
 public:
  /// `llama` outlives this; ids (tokens), at least one.
  DecodeRun(model::Llama<D>& llama, std::vector<int> ids)
      : llama_(llama), ids_(std::move(ids)), cache_(llama.make_cache(std::ssize(ids_))) {
    if constexpr (D == Device::cuda) decoder_.emplace(llama_, cache_, greedy_, first_id());
  }
  DecodeRun(const DecodeRun&) = delete;
  DecodeRun& operator=(const DecodeRun&) = delete;

  void run() {
    if (!decoder_) return run_in_steps();
    cache_.clear();
    const MatrixView<const float, D> state = llama_.forward(first_id(), cache_);
    decoder_->restart(first_id());
    decoder_->first(state);
    for (std::size_t t = 1; t < ids_.size(); ++t) decoder_->next();
  }

  /// The same work launch by launch: collectives inside a graph cannot be timed.
  void run_in_steps() {
    cache_.clear();
    for (std::size_t t = 0; t < ids_.size(); ++t) llama_.logits(llama_.forward(std::span(ids_).subspan(t, 1), cache_));
  }

  bool is_replayed() const { return decoder_ && decoder_->is_replayed(); }

 private:
  std::span<const int> first_id() const { return std::span(ids_).first(1); }

  model::Llama<D>& llama_;
  std::vector<int> ids_;
  model::KvCache<D> cache_;
  model::Sampler greedy_{{}};
  std::optional<model::DeviceDecoder<D>> decoder_;
};

}  // namespace hack::jobs
