#include <gtest/gtest.h>

#include "kernels/buffer.hpp"
#include "kernels/cpu/memory/ordered_sum.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;

constexpr index_t sizes[] = {0, 1, 3, 15, 16, 17, 100, 511, 512, 513, 1000, 4099};

TEST(CopyPastCaches, CopiesAnyLength) {
  for (const index_t n : sizes) {
    const std::vector<float> from = random_floats(n + 1, 1);
    Buffer<float> to(n + 16);
    std::fill_n(to.data(), n + 16, 7.0f);
    copy_past_caches(from.data() + 1, n, to.data());
    flush_copies();
    EXPECT_TRUE(std::equal(from.begin() + 1, from.end(), to.data())) << n;
    EXPECT_EQ(to.data()[n], 7.0f) << n;
  }
}

TEST(SumInOrder, AddsInTheOrderGiven) {
  for (const int count : {1, 2, 3, 5}) {
    for (const index_t n : sizes) {
      SCOPED_TRACE(fmt::format("{} vectors of {}", count, n));
      std::vector<std::vector<float>> vectors;
      for (int r = 0; r < count; ++r) vectors.push_back(random_floats(n, static_cast<unsigned>(r + 1)));
      std::vector<float> sum = vectors[0];
      for (int r = 1; r < count; ++r) {
        for (index_t i = 0; i < n; ++i) sum[i] += vectors[r][i];
      }
      std::vector<const float*> from;
      for (const auto& vector : vectors) from.push_back(vector.data());

      std::vector<float> added = random_floats(n, 9);
      std::vector<float> expected = added;
      for (index_t i = 0; i < n; ++i) expected[i] += sum[i];
      sum_in_order(from, n, Sum::adds, added.data());
      EXPECT_EQ(added, expected);

      sum_in_order(from, n, Sum::replaces, vectors.back().data());  // in the place of one of them
      EXPECT_EQ(vectors.back(), sum);
    }
  }
}

}  // namespace
}  // namespace hack::kernels
