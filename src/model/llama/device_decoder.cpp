#include "model/llama/device_decoder.hpp"

#include <cstddef>
#include <vector>

namespace hack::model {

template <Device D>
DeviceDecoder<D>::DeviceDecoder(Llama<D>& llama, KvCache<D>& cache, Sampler& sampler, std::span<const int> prompt)
    : llama_(llama),
      cache_(cache),
      sampler_(sampler),
      logits_(llama.config().vocab_size),
      seen_(llama.config().vocab_size),
      state_(1),
      replay_(llama.can_replay()) {
  restart(prompt);
}

/// The memory stays where it is: replayed steps know no other.
template <Device D>
void DeviceDecoder<D>::restart(std::span<const int> prompt) {
  std::vector<std::uint8_t> seen(static_cast<std::size_t>(seen_.size()));
  for (const int id : prompt) seen[static_cast<std::size_t>(id)] = 1;
  // A choice counts one up: the first token chosen stands behind those in the cache.
  const DecodeState state{.position = cache_.length() - 1, .draw = 0, .id = 0};
  llama_.queue().wait();
  kernels::copy_from_host<D>(seen_.data(), seen.data(), seen.size());
  kernels::copy_from_host<D>(state_.data(), &state, sizeof(state));
}

/// Nothing is in the queue meanwhile: the token before has been waited for.
template <Device D>
void DeviceDecoder<D>::give_draw() {
  if (sampler_.rule().temperature == 0) return;
  const double draw = sampler_.draw();
  kernels::copy_from_host<D>(&state_.data()->draw, &draw, sizeof(draw));
}

template <Device D>
int DeviceDecoder<D>::take_id() {
  int id = 0;
  llama_.queue().wait();
  kernels::copy_to_host<D>(&id, &state_.data()->id, sizeof(id));
  return id;
}

template <Device D>
int DeviceDecoder<D>::first(MatrixView<const float, D> state) {
  give_draw();
  llama_.logits(state, logits());
  kernels::choose_token(llama_.queue(), sampler_.rule(), logits(), seen_.data(), state_.data());
  return take_id();
}

template <Device D>
int DeviceDecoder<D>::next() {
  HACK_EXPECT(cache_.length() < cache_.capacity());
  give_draw();
  replay_.run(llama_.queue(), [this] {
    llama_.step(state_.data(), cache_, logits());
    kernels::choose_token(llama_.queue(), sampler_.rule(), logits(), seen_.data(), state_.data());
  });
  cache_.advance(1);
  return take_id();
}

template class DeviceDecoder<Device::cpu>;
template class DeviceDecoder<Device::cuda>;

}  // namespace hack::model
