// Attention and what becomes of logits, against the CPU's.

#include <gtest/gtest.h>

#include "kernels/attention.hpp"
#include "kernels/divergence.hpp"
#include "kernels/vocabulary.hpp"
#include "tests/kernels/random_data.hpp"
#include "tests/gpu/device_factors.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::DeviceWeights;
using tests::in_several_orders;
using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

constexpr Device G = Device::cuda;

struct AttentionCase {
  index_t tokens, first_position, head_dim;
  std::vector<int> kv_of_head;
  index_t window = 0;
  float score_factor = 1;
};

/// Appends keys and values of all positions and attends; the cache's rest holds no numbers.
std::vector<float> attend_on_cpu(const AttentionCase& c, index_t kv_heads, const std::vector<float>& q,
                                 const std::vector<float>& keys, const std::vector<float>& values) {
  const index_t positions = c.first_position + c.tokens, width = kv_heads * c.head_dim;
  const index_t capacity = positions + 3, heads = std::ssize(c.kv_of_head);
  std::vector<float> k(kv_heads * capacity * c.head_dim), v(k.size()), out(c.tokens * heads * c.head_dim);
  const CacheView<Device::cpu> key_cache{k.data(), kv_heads, capacity, c.head_dim, c.window, c.score_factor};
  const CacheView<Device::cpu> value_cache{v.data(), kv_heads, capacity, c.head_dim};
  Queue<Device::cpu> queue(2);
  append_to_cache<Device::cpu>(queue, view_of(keys, positions, width), 0, key_cache);
  append_to_cache<Device::cpu>(queue, view_of(values, positions, width), 0, value_cache);
  attention<Device::cpu>(queue, view_of(q, c.tokens, heads * c.head_dim), key_cache, value_cache, c.kv_of_head,
                         c.first_position, view_of(out, c.tokens, heads * c.head_dim));
  return out;
}

/// `by_state`: the last token's position is known to the device alone, and there is room for more parts than are
/// filled.
std::vector<float> attend_on_device(const AttentionCase& c, index_t kv_heads, const std::vector<float>& q,
                                    const std::vector<float>& keys, const std::vector<float>& values, bool by_state) {
  const index_t positions = c.first_position + c.tokens, width = kv_heads * c.head_dim;
  const index_t capacity = positions + (by_state ? 600 : 3), heads = std::ssize(c.kv_of_head);
  DeviceMatrix<> k(kv_heads * capacity, c.head_dim), v(kv_heads * capacity, c.head_dim);
  DeviceMatrix<> out(c.tokens, heads * c.head_dim);
  const DeviceMatrix<> on_device(q, c.tokens, heads * c.head_dim);
  const DeviceMatrix<> new_keys(keys, positions, width), new_values(values, positions, width);
  const CacheView<G> key_cache{k.view().data, kv_heads, capacity, c.head_dim, c.window, c.score_factor};
  const CacheView<G> value_cache{v.view().data, kv_heads, capacity, c.head_dim};
  Queue<G> queue(2);
  const DecodeState host_state{.position = c.first_position};
  const Buffer<DecodeState, G> state = to_device<G>(&host_state, 1);
  const Position<G> position = by_state ? Position<G>(state.data()) : Position<G>(c.first_position);
  // In two calls, as a prompt and what follows it.
  append_to_cache<G>(queue, new_keys.in().rows_from(0, c.first_position), 0, key_cache);
  append_to_cache<G>(queue, new_keys.in().rows_from(c.first_position, c.tokens), position, key_cache);
  append_to_cache<G>(queue, new_values.in(), 0, value_cache);
  attention<G>(queue, on_device.in(), key_cache, value_cache, c.kv_of_head, position, out.view());
  return out.host();
}

TEST(GpuAttention, AttendsAsTheCpuDoes) {
  const std::vector<AttentionCase> cases = {
      {1, 0, 6, {0, 0, 1}},     {1, 300, 10, {0, 1, 1}},      {1, 600, 64, {1}},      {2, 0, 6, {0, 1}},
      {35, 0, 10, {0, 0, 1}},   {70, 5, 64, {1, 0}},          {33, 40, 100, {0}},     {3, 2, 256, {0, 1}},
      {1, 600, 10, {1, 0}, 90}, {1, 600, 10, {0}, 256, 1.2f}, {1, 600, 10, {0}, 345}, {1, 3, 10, {0}, 90},
      {70, 5, 10, {1, 0}, 1},   {70, 50, 10, {0}, 33, 1.2f},  {70, 0, 64, {1}, 40},
  };
  for (const AttentionCase& c : cases) {
    SCOPED_TRACE(testing::Message() << c.tokens << " tokens after " << c.first_position << ", " << c.head_dim);
    const index_t kv_heads = 2, positions = c.first_position + c.tokens, heads = std::ssize(c.kv_of_head);
    const std::vector<float> q = random_floats(c.tokens * heads * c.head_dim, 1);
    const std::vector<float> keys = random_floats(positions * kv_heads * c.head_dim, 2);
    const std::vector<float> values = random_floats(positions * kv_heads * c.head_dim, 3);
    const std::vector<float> expected = attend_on_cpu(c, kv_heads, q, keys, values);
    in_several_orders([&] {
      for (const bool by_state : {false, true}) {
        if (by_state && c.tokens > 1) continue;
        const std::vector<float> actual = attend_on_device(c, kv_heads, q, keys, values, by_state);
        // Means of numbers below 1 with weights off by the rounding of scores of order 1 and of exps.
        for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 40 * tests::eps) << i;
      }
    });
  }
}

TEST(GpuVocabulary, FindsPartialLosses) {
  for (DType type : tests::all_types) {
    for (index_t tokens : {1, 11}) {
      const index_t vocabulary = 333, hidden = 70;
      const RandomWeights head(vocabulary, hidden, type, 1);
      const DeviceWeights on_device(head.view);
      const std::vector<float> x = random_floats(tokens * hidden, 2);
      const DeviceMatrix<> x_on_device(x, tokens, hidden);
      std::vector<int> targets;  // some of them outside this slice
      for (index_t t = 0; t < tokens; ++t) targets.push_back(static_cast<int>(t * 7919 % (vocabulary + 90)));
      std::vector<PartialLoss> expected(tokens), actual(tokens);
      Queue<Device::cpu> host(1);
      partial_losses<Device::cpu>(host, view_of(x, tokens, hidden), {head.view}, 50, targets, expected);
      Queue<G> queue(1);
      partial_losses<G>(queue, x_on_device.in(), {on_device.view()}, 50, targets, actual);
      for (index_t t = 0; t < tokens; ++t) {
        const double bound = 70 * 70 * tests::eps / 4 + (tokens > 8 ? 70 * 0x1p-18 : 0);
        ASSERT_NEAR(actual[t].maximum, expected[t].maximum, bound);
        ASSERT_NEAR(actual[t].target_logit, expected[t].target_logit, bound);
        ASSERT_NEAR(std::log(actual[t].sum), std::log(expected[t].sum), 2 * bound + 1e-6);
      }
    }
  }
}

TEST(GpuVocabulary, TakesAHeadOfFactors) {
  const index_t tokens = 11, vocabulary = 333, hidden = 70;
  const tests::RandomFactors head(vocabulary, hidden, 32, DType::f32, tests::every_form);
  const tests::DeviceFactors on_device(head);
  const std::vector<float> x = random_floats(tokens * hidden, 2);
  const DeviceMatrix<> x_on_device(x, tokens, hidden);
  const std::vector<int> targets(tokens, 61);
  std::vector<PartialLoss> expected(tokens), actual(tokens);
  Queue<Device::cpu> host(1);
  partial_losses<Device::cpu>(host, view_of(x, tokens, hidden), {{}, {&head.view, 1}}, 50, targets, expected);
  Queue<G> queue(1);
  partial_losses<G>(queue, x_on_device.in(), {{}, {&on_device.view(), 1}}, 50, targets, actual);
  for (std::size_t t = 0; t < actual.size(); ++t) {
    const double bound = 1e-4 * (1 + std::fabs(expected[t].maximum));
    ASSERT_NEAR(actual[t].maximum, expected[t].maximum, bound);
    ASSERT_NEAR(actual[t].target_logit, expected[t].target_logit, bound);
    ASSERT_NEAR(std::log(actual[t].sum), std::log(expected[t].sum), 2 * bound);
  }
}

TEST(GpuVocabulary, TakesAnEmptySlice) {
  const DeviceMatrix<> x(random_floats(2 * 5, 1), 2, 5);
  const std::vector<int> targets = {1, 2};
  std::vector<PartialLoss> losses(2);
  Queue<G> queue(1);
  partial_losses<G>(queue, x.in(), {{nullptr, Codec::bf16, 0, 5, 5}}, 0, targets, losses);
  for (const PartialLoss& loss : losses) {
    EXPECT_TRUE(std::isinf(loss.maximum));
    EXPECT_EQ(loss.sum, 0);
    EXPECT_EQ(loss.target_logit, 0);
  }
}

TEST(GpuVocabulary, FindsDivergences) {
  const index_t tokens = 3, variants = 2, vocabulary = 333, hidden = 40;
  const RandomWeights head(vocabulary, hidden, DType::bf16, 1);
  const DeviceWeights on_device(head.view);
  const std::vector<float> reference = random_floats(tokens * hidden, 2);
  const std::vector<float> states = random_floats(variants * tokens * hidden, 3);
  const DeviceMatrix<> reference_on_device(reference, tokens, hidden);
  const DeviceMatrix<> states_on_device(states, variants * tokens, hidden);
  std::vector<double> expected(variants * tokens), actual(variants * tokens);
  Queue<Device::cpu> host(1);
  divergences<Device::cpu>(host, {view_of(reference, tokens, hidden), {head.view}},
                           {view_of(states, variants * tokens, hidden), {head.view}}, std::span(expected));
  std::vector<PartialDivergence> wanted(variants * tokens), parts(variants * tokens);
  partial_divergences<Device::cpu>(host, {view_of(reference, tokens, hidden), {head.view}},
                                   {view_of(states, variants * tokens, hidden), {head.view}}, std::span(wanted));
  in_several_orders([&] {
    Queue<G> queue(1);
    divergences<G>(queue, {reference_on_device.in(), {on_device.view()}}, {states_on_device.in(), {on_device.view()}},
                   std::span(actual));
    partial_divergences<G>(queue, {reference_on_device.in(), {on_device.view()}},
                           {states_on_device.in(), {on_device.view()}}, std::span(parts));
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], 2e-5 * (1 + expected[i])) << i;
      ASSERT_NEAR(parts[i].at_top, wanted[i].at_top, 1e-4) << i;
      ASSERT_EQ(has_same_top(parts[i]), has_same_top(wanted[i])) << i;
    }
  });
}

}  // namespace
}  // namespace hack::kernels
