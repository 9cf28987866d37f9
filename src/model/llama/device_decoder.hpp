#pragma once

#include <span>

#include "kernels/replay.hpp"
#include "kernels/sampling.hpp"
#include "model/llama/llama.hpp"
#include "model/llama/sampler.hpp"

namespace hack::model {

/// Decodes token by token in the device's memory: logits, choice, position and token stay there, and each step is the
/// same sequence of operations, replayed as one graph where that is possible. What crosses the bus is the token chosen
/// and, where tokens are drawn, the random number. Every rank chooses, with the same logits and numbers.
template <Device D>
class DeviceDecoder {
 public:
  /// All outlive this; `prompt`: the tokens that the cache holds already.
  DeviceDecoder(Llama<D>& llama, KvCache<D>& cache, Sampler& sampler, std::span<const int> prompt);

  /// Begins again behind another prompt that the cache holds; steps that are replayed stay so.
  void restart(std::span<const int> prompt);

  /// Chooses the token after the prompt, whose last state (1, hidden) is given.
  int first(MatrixView<const float, D> state);
  /// Takes the last token through the model and chooses the one after it.
  int next();

  /// Whether steps are launched as a graph by now.
  bool is_replayed() const { return replay_.is_captured(); }

 private:
  void give_draw();
  int take_id();
  MatrixView<float, D> logits() { return {logits_.data(), 1, logits_.size()}; }

  Llama<D>& llama_;
  KvCache<D>& cache_;
  Sampler& sampler_;
  Buffer<float, D> logits_;       // (vocabulary)
  Buffer<std::uint8_t, D> seen_;  // (vocabulary)
  Buffer<DecodeState, D> state_;  // (1)
  kernels::Replay<D> replay_;
};

}  // namespace hack::model
