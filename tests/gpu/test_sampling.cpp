// Tokens chosen on the device, against the CPU's choices with the same numbers.

#include <gtest/gtest.h>

#include "kernels/sampling.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::in_several_orders;
using tests::random_floats;
using tests::view_of;

constexpr Device G = Device::cuda;

/// What a choice leaves behind.
struct Outcome {
  std::vector<float> logits;
  std::vector<std::uint8_t> seen;
  DecodeState state;
};

Outcome choose_on_host(const SamplingRule& rule, Outcome start) {
  Queue<Device::cpu> queue(1);
  choose_token<Device::cpu>(queue, rule, view_of(start.logits, 1, std::ssize(start.logits)), start.seen.data(),
                            &start.state);
  return start;
}

Outcome choose_on_device(const SamplingRule& rule, const Outcome& start) {
  const index_t n = std::ssize(start.logits);
  DeviceMatrix<> logits(start.logits, 1, n);
  Buffer<std::uint8_t, G> seen = to_device<G>(start.seen.data(), n);
  Buffer<DecodeState, G> state = to_device<G>(&start.state, 1);
  Queue<G> queue(1);
  choose_token<G>(queue, rule, logits.view(), seen.data(), state.data());
  queue.wait();
  Outcome out{logits.host(), std::vector<std::uint8_t>(start.seen.size()), {}};
  copy_to_host<G>(out.seen.data(), seen.data(), out.seen.size());
  copy_to_host<G>(&out.state, state.data(), sizeof(out.state));
  return out;
}

void check(const SamplingRule& rule, const Outcome& start) {
  SCOPED_TRACE(testing::Message() << start.logits.size() << " tokens, temperature " << rule.temperature << ", top p "
                                  << rule.top_p << ", draw " << start.state.draw);
  const Outcome expected = choose_on_host(rule, start);
  const Outcome actual = choose_on_device(rule, start);
  EXPECT_EQ(actual.state.id, expected.state.id);
  EXPECT_EQ(actual.state.position, expected.state.position);
  EXPECT_EQ(actual.seen, expected.seen);
  EXPECT_EQ(actual.logits, expected.logits);
}

/// Logits spread over some 20 units, as a model's are; a fifth of the tokens seen.
Outcome random_start(index_t vocabulary, int seed, double draw) {
  Outcome start{random_floats(vocabulary, static_cast<unsigned>(seed)),
                std::vector<std::uint8_t>(static_cast<std::size_t>(vocabulary)),
                {.position = 40 + seed, .draw = draw, .id = 3}};
  for (index_t i = 0; i < vocabulary; ++i) {
    start.logits[static_cast<std::size_t>(i)] *= 10;
    start.seen[static_cast<std::size_t>(i)] = i % 5 == seed % 5;
  }
  return start;
}

TEST(GpuSampling, TakesTheLikeliest) {
  for (const index_t vocabulary : {1, 31, 2048, 2049, 5000}) {
    for (const double penalty : {1.0, 1.3}) {
      in_several_orders([&] { check({.repetition_penalty = penalty}, random_start(vocabulary, 2, 0)); });
    }
  }
}

TEST(GpuSampling, TakesTheFirstOfEquals) {
  Outcome start = random_start(4500, 1, 0);
  for (const std::size_t id : {4400, 2356, 2100, 2101}) start.logits[id] = 77;  // two of them are one thread's
  check({}, start);
}

TEST(GpuSampling, DrawsFromAll) {
  for (const index_t vocabulary : {1, 33, 2049, 4700}) {
    for (const double draw : {0.0, 0.31, 0.77, 0.999999}) {
      in_several_orders([&] { check({.temperature = 0.8}, random_start(vocabulary, 3, draw)); });
    }
  }
}

TEST(GpuSampling, DrawsFromTheLikeliest) {
  for (const index_t vocabulary : {1, 33, 2049, 4700}) {
    for (const double top_p : {1e-9, 0.5, 0.9, 0.999}) {
      for (const double draw : {0.0, 0.4, 0.95, 1 - 0x1p-53}) {
        check({.temperature = 1.5, .top_p = top_p, .repetition_penalty = 1.1}, random_start(vocabulary, 4, draw));
      }
    }
  }
}

TEST(GpuSampling, SharesOutEqualLogits) {
  // Four values, each of many tokens, in several chunks; zeros of both signs are equal.
  Outcome start = random_start(4600, 5, 0);
  for (std::size_t i = 0; i < start.logits.size(); ++i) {
    start.logits[i] = i % 7 == 0 ? 2.0f : i % 7 == 1 ? 0.0f : i % 7 == 2 ? -0.0f : -3.0f;
  }
  for (const double top_p : {0.3, 0.8, 1.0}) {
    for (const double draw : {0.0, 0.123, 0.6, 0.9999}) {
      start.state.draw = draw;
      check({.temperature = 1, .top_p = top_p}, start);
    }
  }
}

TEST(GpuSampling, LeavesOutWhatHasNoWeight) {
  Outcome start = random_start(2100, 6, 0.9);
  for (std::size_t i = 0; i < start.logits.size(); ++i) {
    if (i % 3 != 0) start.logits[i] = -std::numeric_limits<float>::infinity();
    if (i % 3 == 1) start.logits[i] = -1e9f;
  }
  check({.temperature = 0.01}, start);
  check({.temperature = 2, .top_p = 0.95}, start);
}

}  // namespace
}  // namespace hack::kernels
