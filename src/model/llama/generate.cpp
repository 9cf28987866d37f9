#include "model/llama/generate.hpp"

#include "kernels/stopwatch.hpp"
#include "model/llama/decoder.hpp"
#include "model/llama/new_text.hpp"
#include "model/llama/read_ids.hpp"

namespace hack::model {
namespace {

/// Token after token behind `state`, the last of the prompt, until something ends it; `watch` runs since the prompt.
template <class AnyDecoder, class State>
Generated decode(AnyDecoder decoder, State state, const comm::Communicator& tensor, const GenerateOptions& options,
                 const std::function<bool(int)>& on_token, Stopwatch watch) {
  Generated result;
  NewText text(tensor, options, on_token);
  bool goes_on = text.add(decoder.first(state));
  result.prefill_seconds = watch.seconds();
  watch.restart();
  while (goes_on) goes_on = text.add(decoder.next());
  result.decode_seconds = watch.seconds();
  result.ids = text.ids();
  return result;
}

}  // namespace

template <Device D>
Generated generate(Llama<D>& llama, std::span<const int> prompt, const GenerateOptions& options, Sampler& sampler,
                   const std::function<bool(int)>& on_token) {
  validate(!prompt.empty(), "the prompt has no tokens");
  KvCache<D> cache = llama.make_cache(std::ssize(prompt) + options.max_tokens);
  if (options.max_tokens <= 0) return {};

  const Stopwatch watch;
  const MatrixView<const float, D> last = read_ids(llama, prompt, cache);
  if (sampler.is_for_devices()) {
    return decode(Decoder<D>(llama, cache, sampler, prompt), last, llama.tensor(), options, on_token, watch);
  }
  return decode(HostDecoder<D>(llama, cache, sampler, prompt), last, llama.tensor(), options, on_token, watch);
}

#define HACK_INSTANTIATE(D)                                                                      \
  template Generated generate(Llama<D>&, std::span<const int>, const GenerateOptions&, Sampler&, \
                              const std::function<bool(int)>&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
