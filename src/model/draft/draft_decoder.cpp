#include "model/draft/draft_decoder.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/llama/read_ids.hpp"
#include "model/llama/shared_choice.hpp"

namespace hack::model {

template <Device D>
DraftDecoder<D>::DraftDecoder(const DraftedModel<D>& models, Sampler& sampler, DraftLength& length, index_t capacity)
    : models_(models),
      sampler_(sampler),
      length_(length),
      model_cache_(models.model.make_cache(capacity + DraftLength::largest)),
      draft_cache_(models.draft.make_cache(capacity + DraftLength::largest)) {
  HACK_EXPECT(models.model.config().vocab_size == models.draft.config().vocab_size);
}

template <Device D>
int DraftDecoder<D>::first(std::span<const int> prompt) {
  seen_.assign(prompt.begin(), prompt.end());
  std::vector<float> logits = models_.model.logits(read_ids(models_.model, prompt, model_cache_));
  std::vector<int> id = {choose_behind(models_.model, logits, seen_, 0)};
  share_choices(models_.model, id, seen_);
  seen_.push_back(id[0]);
  if (!draws_.empty()) draws_.pop_front();
  read_ids(models_.draft, prompt, draft_cache_);
  return id[0];
}

template <Device D>
std::vector<int> DraftDecoder<D>::next() {
  std::vector<int> length = {static_cast<int>(length_.next())};  // by times, which differ between ranks
  comm::broadcast(models_.model.tensor(), length);
  pass_ = {.proposed = length[0]};
  Stopwatch watch;
  const std::vector<int> proposals = propose(pass_.proposed);
  pass_.draft_seconds = watch.seconds();
  watch.restart();
  const std::vector<int> ids = choose(proposals);
  pass_.model_seconds = watch.seconds();
  pass_.accepted = std::ssize(ids) - 1;
  seen_.insert(seen_.end(), ids.begin(), ids.end());
  draws_.erase(draws_.begin(), draws_.begin() + std::min(std::ssize(draws_), std::ssize(ids)));
  // The last id seen has been through neither model, and neither keeps what it read of refused proposals.
  for (KvCache<D>* cache : {&model_cache_, &draft_cache_}) cache->shorten(std::ssize(seen_) - 1);
  length_.record(pass_);
  return ids;
}

template <Device D>
std::vector<int> DraftDecoder<D>::propose(index_t length) {
  std::vector<int> ids = seen_;
  for (index_t i = 0; i < length; ++i) {
    const auto unread = std::span<const int>(ids).subspan(static_cast<std::size_t>(draft_cache_.length()));
    std::vector<float> logits = models_.draft.logits(read_ids(models_.draft, unread, draft_cache_));
    std::vector<int> id = {choose_behind(models_.draft, logits, ids, i)};
    share_choices(models_.draft, id, ids);
    ids.push_back(id[0]);
  }
  return {ids.begin() + std::ssize(seen_), ids.end()};
}

template <Device D>
std::vector<int> DraftDecoder<D>::choose(std::span<const int> proposals) {
  std::vector<int> ids = seen_;
  ids.insert(ids.end(), proposals.begin(), proposals.end());
  const auto unread = std::span<const int>(ids).subspan(seen_.size() - 1);
  std::vector<std::vector<float>> logits = models_.model.all_logits(models_.model.forward(unread, model_cache_));
  std::vector<int> chosen;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto before = std::span<const int>(ids).first(seen_.size() + i);
    chosen.push_back(choose_behind(models_.model, logits[i], before, static_cast<index_t>(i)));
    if (i < proposals.size() && chosen.back() != proposals[i]) break;
  }
  share_choices(models_.model, chosen, ids);
  return chosen;
}

template <Device D>
int DraftDecoder<D>::choose_behind(const Llama<D>& llama, std::vector<float>& logits, std::span<const int> ids,
                                   index_t ahead) {
  return choose_on_root(llama, logits, [&] { return sampler_.choose(logits, ids, draw(ahead)); });
}

template <Device D>
double DraftDecoder<D>::draw(index_t ahead) {
  while (std::ssize(draws_) <= ahead) draws_.push_back(sampler_.draw());
  return draws_[static_cast<std::size_t>(ahead)];
}

template class DraftDecoder<Device::cpu>;
template class DraftDecoder<Device::cuda>;

}  // namespace hack::model
