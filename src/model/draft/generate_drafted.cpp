#include "model/draft/generate_drafted.hpp"

#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/llama/new_text.hpp"

namespace hack::model {

template <Device D>
DraftedText generate_drafted(const DraftedModel<D>& models, std::span<const int> prompt, const GenerateOptions& options,
                             Sampler& sampler, DraftLength& length, const std::function<bool(int)>& on_token) {
  validate(!prompt.empty(), "the prompt has no tokens");
  DraftedText result;
  if (options.max_tokens <= 0) return result;
  DraftDecoder<D> decoder(models, sampler, length, std::ssize(prompt) + options.max_tokens);
  NewText text(models.model.tensor(), options, on_token);
  Stopwatch watch;
  bool goes_on = text.add(decoder.first(prompt));
  result.text.prefill_seconds = watch.seconds();
  watch.restart();
  while (goes_on) {
    for (const int id : decoder.next()) {
      if (goes_on) goes_on = text.add(id);
    }
    const DraftPass& pass = decoder.last_pass();
    (pass.proposed > 0 ? result.passes : result.plain_passes) += 1;
    result.proposed += pass.proposed;
    result.accepted += pass.accepted;
  }
  result.text.decode_seconds = watch.seconds();
  result.text.ids = text.ids();
  result.costs = length.costs();
  result.best_length = length.best();
  return result;
}

#define HACK_INSTANTIATE(D)                                                                                   \
  template DraftedText generate_drafted(const DraftedModel<D>&, std::span<const int>, const GenerateOptions&, \
                                        Sampler&, DraftLength&, const std::function<bool(int)>&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
