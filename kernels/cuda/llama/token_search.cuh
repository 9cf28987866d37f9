#pragma once

#include <cstring>

#include "kernels/cuda/execution.cuh"
#include "kernels/decode_state.hpp"

namespace hack::kernels::cuda {

// A token is chosen without sorting: keys that order as logits do are found digit by digit, four bits at a time. Each
// launch adds up the weights of every value of one digit, and decides the digit before by what the last launch added.

/// Logits that a block takes.
struct LogitChunk {
  static constexpr int threads = 256;
  static constexpr int length = 2048;

  static index_t count(index_t vocabulary) { return divide_up(vocabulary, length); }
};

/// The largest logit of a chunk, of equal ones that of the lowest id.
struct LargestLogit {
  float value = 0;
  int id = 0;
};

/// How far the search for a token has come.
struct Search {
  double goal = 0;          ///< what the sum of weights in order is to reach
  double above = 0;         ///< weights of keys above those with the digits found so far
  std::uint32_t key = 0;    ///< digits found so far, from the highest bits on
  std::uint32_t floor = 0;  ///< smaller keys do not take part
  int ties = 0;             ///< of the tokens whose key is `floor` so many take part; 0: all
};

/// One chunk's tokens with the digits found so far: their weights by the next digit.
struct DigitSums {
  static constexpr int values = 16;
  double sums[values];
};

/// What all kernels of a search have in common, and what they decide alike.
struct TokenSearch {
  static constexpr int threads = LogitChunk::threads;
  static constexpr int digits = 8;  // of a key
  static constexpr int shared_words =
      32 + 8 * 2 * DigitSums::values;  // for a maximum, then for sums of warps in double
  const float* logits = nullptr;
  index_t vocabulary = 0;
  const LargestLogit* largest = nullptr;  // (chunks)
  double temperature = 1;
  double top_p = 1;
  const DecodeState* state = nullptr;
  Search* found = nullptr;    // (2 digits + 1) after so many launches
  DigitSums* sums = nullptr;  // (2, chunks) of even and odd launches

  HACK_BODY index_t chunks() const { return (vocabulary + LogitChunk::length - 1) / LogitChunk::length; }

  /// Larger for larger logits, the same for both zeros.
  HACK_BODY static std::uint32_t key_of(float logit) {
    if (logit == 0) logit = 0;
    std::uint32_t bits;
    memcpy(&bits, &logit, 4);
    return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  }

  template <class Exec>
  HACK_BODY float maximum(Exec& exec) const {
    float value = -INFINITY;
    for (index_t c = exec.thread(); c < chunks(); c += threads) value = fmaxf(value, largest[c].value);
    return block_max(exec, value, 0);
  }

  HACK_BODY double weight_of(float logit, float maximum) const {
    return exp((static_cast<double>(logit) - static_cast<double>(maximum)) / temperature);
  }

  template <class Exec>
  HACK_BODY static void put(Exec& exec, int number, double x) {
    const auto words = exec.template shared<std::uint32_t>(32 + 2 * number);
    std::uint64_t bits;
    memcpy(&bits, &x, 8);
    words[0] = static_cast<std::uint32_t>(bits);
    words[1] = static_cast<std::uint32_t>(bits >> 32);
  }
  template <class Exec>
  HACK_BODY static double get(Exec& exec, int number) {
    const auto words = exec.template shared<std::uint32_t>(32 + 2 * number);
    const std::uint32_t low = words[0], high = words[1];
    const std::uint64_t bits = static_cast<std::uint64_t>(high) << 32 | low;
    double x;
    memcpy(&x, &bits, 8);
    return x;
  }

  /// The search after `launches` of them; every thread of every block finds the same. Sums of the last launch are added
  /// by sixteen threads a digit. `last_sum`: weights of the keys with the digits found.
  template <class Exec>
  HACK_BODY Search after(Exec& exec, int launches, float maximum, double& last_sum) const {
    last_sum = 0;
    if (launches == 0 || (launches == digits && top_p >= 1)) return {};
    const DigitSums* all = sums + (launches - 1) % 2 * chunks();
    const int digit = exec.thread() / 16, part = exec.thread() % 16;
    double sum = 0;
    for (index_t c = part; c < chunks(); c += 16) sum += all[c].sums[digit];
    sum = exec.group_sum(sum, 16);
    exec.sync();  // the words are free
    if (part == 0) put(exec, digit, sum);
    exec.sync();
    Search search = found[launches - 1];
    const bool draws = launches > digits;  // else it looks for the end of the run
    if (launches % digits == 1) {
      double total = 0;
      for (int d = DigitSums::values - 1; d >= 0; --d) total += get(exec, d);
      if (!draws) search.goal = top_p * total;
      if (draws && top_p >= 1) search.goal = state->draw * total;
    }
    int chosen = -1, lowest = 0;
    double chosen_above = search.above, above = search.above;
    for (int d = DigitSums::values - 1; d >= 0 && chosen < 0; --d) {
      const double here = get(exec, d);
      if (here <= 0) continue;
      lowest = d;
      chosen_above = above;
      if (draws ? above + here > search.goal : above + here >= search.goal) chosen = d;
      above += here;
    }
    if (chosen < 0) chosen = lowest;  // rounding has left the goal above all
    last_sum = get(exec, chosen);
    search.above = chosen_above;
    search.key |= static_cast<std::uint32_t>(chosen) << (28 - 4 * ((launches - 1) % digits));
    if (launches == digits) search = run_of(search, last_sum, maximum);
    return search;
  }

  HACK_BODY static float logit_of(std::uint32_t key) {
    const std::uint32_t bits = key >> 31 != 0 ? key & 0x7fffffffu : ~key;
    float logit;
    memcpy(&logit, &bits, 4);
    return logit;
  }

 private:
  /// From the end of the run to the draw among it: what the draw is to reach.
  HACK_BODY Search run_of(const Search& end, double sum, float maximum) const {
    const double weight = weight_of(logit_of(end.key), maximum);
    const int all = static_cast<int>(sum / weight + 0.5);
    int ties = static_cast<int>(ceil((end.goal - end.above) / weight));
    ties = ties < 1 ? 1 : ties > all ? all : ties;
    return {state->draw * (end.above + ties * weight), 0, 0, end.key, ties};
  }
};

}  // namespace hack::kernels::cuda
