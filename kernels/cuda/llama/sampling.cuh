#pragma once

#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/llama/token_search.cuh"

namespace hack::kernels::cuda {

/// Makes seen tokens pay the penalty, and finds each chunk's largest logit.
struct PenalizeLogits {
  static constexpr const char* name = "PenalizeLogits";
  static constexpr int max_threads = LogitChunk::threads;
  float* logits = nullptr;
  index_t vocabulary = 0;
  const std::uint8_t* seen = nullptr;
  float penalty = 1;
  LargestLogit* largest = nullptr;  // (chunks)

  Geometry geometry() const { return {LogitChunk::count(vocabulary), max_threads, 64}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t first = exec.block() * LogitChunk::length;
    const index_t end = first + LogitChunk::length < vocabulary ? first + LogitChunk::length : vocabulary;
    float best = -INFINITY;
    int best_id = static_cast<int>(first);
    for (index_t id = first + exec.thread(); id < end; id += max_threads) {
      float logit = logits[id];
      if (penalty != 1 && seen[id] != 0) {
        logit = logit > 0 ? logit / penalty : logit * penalty;
        logits[id] = logit;
      }
      if (logit > best) {
        best = logit;
        best_id = static_cast<int>(id);
      }
    }
    block_largest(exec, best, best_id, 0);
    if (exec.thread() == 0) largest[exec.block()] = {best, best_id};
  }
};

/// What follows from a choice.
HACK_BODY void take(int id, std::uint8_t* seen, DecodeState* state) {
  state->id = id;
  ++state->position;
  seen[id] = 1;
}

/// Chooses the likeliest token.
struct TakeLargest {
  static constexpr const char* name = "TakeLargest";
  static constexpr int max_threads = 256;
  const LargestLogit* largest = nullptr;  // (chunks)
  index_t chunks = 0;
  std::uint8_t* seen = nullptr;
  DecodeState* state = nullptr;

  Geometry geometry() const { return {1, max_threads, 64}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    float best = -INFINITY;
    int best_id = largest[0].id;
    for (index_t c = exec.thread(); c < chunks; c += max_threads) {
      if (largest[c].value > best) {
        best = largest[c].value;
        best_id = largest[c].id;
      }
    }
    block_largest(exec, best, best_id, 0);
    if (exec.thread() == 0) take(best_id, seen, state);
  }
};

/// Adds up the weights of one digit's values.
struct SearchDigit {
  static constexpr const char* name = "SearchDigit";
  static constexpr int max_threads = TokenSearch::threads;
  TokenSearch search;
  int launches = 0;  ///< before this one

  Geometry geometry() const { return {LogitChunk::count(search.vocabulary), max_threads, TokenSearch::shared_words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float maximum = search.maximum(exec);
    double last_sum;
    const Search at = search.after(exec, launches, maximum, last_sum);
    if (exec.block() == 0 && exec.thread() == 0) search.found[launches] = at;
    const int digit = launches % TokenSearch::digits, shift = 28 - 4 * digit;
    const std::uint32_t known = digit == 0 ? 0 : 0xffffffffu << (shift + 4);
    const index_t first = exec.block() * LogitChunk::length;
    const index_t end = first + LogitChunk::length < search.vocabulary ? first + LogitChunk::length : search.vocabulary;
    double sums[DigitSums::values] = {};
    for (index_t id = first + exec.thread(); id < end; id += max_threads) {
      const std::uint32_t key = TokenSearch::key_of(search.logits[id]);
      if ((key & known) != at.key || key < at.floor) continue;
      const double weight = search.weight_of(search.logits[id], maximum);
      const int value = static_cast<int>(key >> shift & 15u);
      HACK_UNROLL
      for (int d = 0; d < DigitSums::values; ++d) sums[d] += d == value ? weight : 0.0;
    }
    exec.sync();  // the words are free
    HACK_UNROLL
    for (int d = 0; d < DigitSums::values; ++d) {
      const double sum = exec.group_sum(sums[d], 32);
      if (exec.lane() == 0) TokenSearch::put(exec, exec.warp() * DigitSums::values + d, sum);
    }
    exec.sync();
    if (exec.thread() >= DigitSums::values) return;
    double sum = 0;
    for (int w = 0; w < max_threads / 32; ++w) sum += TokenSearch::get(exec, w * DigitSums::values + exec.thread());
    search.sums[launches % 2 * search.chunks() + exec.block()].sums[exec.thread()] = sum;
  }
};

/// When all digits are known: how many tokens of each chunk have that key.
struct CountTies {
  static constexpr const char* name = "CountTies";
  static constexpr int max_threads = TokenSearch::threads;
  TokenSearch search;
  int* counts = nullptr;  // (chunks + 1), then which of the tokens is meant

  Geometry geometry() const { return {LogitChunk::count(search.vocabulary), max_threads, TokenSearch::shared_words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float maximum = search.maximum(exec);
    double last_sum;
    const Search at = search.after(exec, 2 * TokenSearch::digits, maximum, last_sum);
    const index_t first = exec.block() * LogitChunk::length;
    const index_t end = first + LogitChunk::length < search.vocabulary ? first + LogitChunk::length : search.vocabulary;
    float count = 0;
    for (index_t id = first + exec.thread(); id < end; id += max_threads) {
      count += TokenSearch::key_of(search.logits[id]) == at.key ? 1.0f : 0.0f;
    }
    count = block_sum(exec, count, 0);
    if (exec.thread() != 0) return;
    counts[exec.block()] = static_cast<int>(count);
    if (exec.block() != 0) return;
    search.found[2 * TokenSearch::digits] = at;
    const double weight = search.weight_of(TokenSearch::logit_of(at.key), maximum);
    int most = static_cast<int>(last_sum / weight + 0.5);
    if (at.ties > 0 && at.key == at.floor && at.ties < most) most = at.ties;
    const double share = (at.goal - at.above) / weight;
    const int which = share <= 0 ? 0 : share >= most ? most - 1 : static_cast<int>(share);
    counts[search.chunks()] = which < most ? which : most - 1;
  }
};

/// Takes the token that is meant.
struct TakeToken {
  static constexpr const char* name = "TakeToken";
  static constexpr int max_threads = TokenSearch::threads;
  static constexpr int per_thread = LogitChunk::length / max_threads;
  TokenSearch search;
  const int* counts = nullptr;  // (chunks + 1)
  std::uint8_t* seen = nullptr;
  DecodeState* state = nullptr;

  Geometry geometry() const { return {1, max_threads, max_threads}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const std::uint32_t key = search.found[2 * TokenSearch::digits].key;
    int which = counts[search.chunks()];
    index_t chunk = 0;
    while (chunk + 1 < search.chunks() && which >= counts[chunk]) which -= counts[chunk++];
    const index_t first = chunk * LogitChunk::length + exec.thread() * per_thread;
    int mine = 0;
    for (index_t id = first; id < first + per_thread && id < search.vocabulary; ++id) {
      mine += TokenSearch::key_of(search.logits[id]) == key ? 1 : 0;
    }
    const auto all = exec.template shared<int>(0);
    all[exec.thread()] = mine;
    exec.sync();
    for (int t = 0; t < exec.thread(); ++t) which -= all[t];
    if (which < 0 || which >= mine) return;
    for (index_t id = first; id < first + per_thread; ++id) {
      if (TokenSearch::key_of(search.logits[id]) != key) continue;
      if (which-- == 0) return take(static_cast<int>(id), seen, state);
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_SAMPLING_KERNELS(X) \
  X(PenalizeLogits)              \
  X(TakeLargest)                 \
  X(SearchDigit)                 \
  X(CountTies)                   \
  X(TakeToken)
