#include "model/llama/generate.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/stopwatch.hpp"
#include "model/llama/chunk.hpp"
#include "model/llama/decoder.hpp"

namespace hack::model {

template <Device D>
Generated generate(Llama<D>& llama, std::span<const int> prompt, const GenerateOptions& options, Sampler& sampler,
                   const std::function<bool(int)>& on_token) {
  validate(!prompt.empty(), "the prompt has no tokens");
  const index_t prompt_tokens = std::ssize(prompt);
  KvCache<D> cache = llama.make_cache(prompt_tokens + options.max_tokens);
  Generated result{{}, 0, 0};
  if (options.max_tokens <= 0) return result;

  Stopwatch watch;
  MatrixView<const float, D> states;
  for (index_t begin = 0; begin < prompt_tokens; begin += chunk_tokens) {
    states = llama.last_state(prompt.subspan(begin, std::min(chunk_tokens, prompt_tokens - begin)), cache);
  }
  Decoder<D> decoder(llama, cache, sampler, prompt);
  for (index_t i = 0; i < options.max_tokens; ++i) {
    const int id = i == 0 ? decoder.first(states.rows_from(states.rows - 1, 1)) : decoder.next();
    if (i == 0) {
      result.prefill_seconds = watch.seconds();
      watch.restart();
    }
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end()) break;
    result.ids.push_back(id);
    int goes_on = on_token(id) ? 1 : 0;
    if (!options.may_end) continue;
    comm::broadcast(llama.tensor(), std::as_writable_bytes(std::span(&goes_on, 1)));
    if (goes_on == 0) break;
  }
  result.decode_seconds = watch.seconds();
  return result;
}

#define HACK_INSTANTIATE(D)                                                                      \
  template Generated generate(Llama<D>&, std::span<const int>, const GenerateOptions&, Sampler&, \
                              const std::function<bool(int)>&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
