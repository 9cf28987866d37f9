// The first half of a SwiGLU MLP in one go, against the CPU's separate products.

#include <gtest/gtest.h>

#include "kernels/cuda/memory/resources.hpp"
#include "kernels/gated_linear.hpp"
#include "tests/gpu/device_factors.hpp"

namespace hack::kernels {
namespace {

using tests::dense;
using tests::DeviceFactors;
using tests::DeviceMatrix;
using tests::DeviceWeights;
using tests::factors;
using tests::in_several_orders;
using tests::interpolative;
using tests::random_floats;
using tests::RandomFactors;
using tests::RandomWeights;
using tests::view_of;

constexpr Device G = Device::cuda;

/// Both matrices with and without biases on both devices; `host` and `device` make the views.
template <class Host, class OnDevice>
void check(index_t rows, index_t cols, index_t tokens, Codec codec, const Host& host, const OnDevice& device) {
  SCOPED_TRACE(testing::Message() << rows << " x " << cols << ", " << tokens << " tokens, " << to_string(codec));
  const std::vector<float> x = random_floats(tokens * cols, 4), bias = random_floats(2 * rows, 5);
  const DeviceMatrix<> x_on_device(x, tokens, cols), bias_on_device(bias, 2, rows);
  // Sums of up to cols + rank space terms; in narrow parts for many tokens. silu and what it is multiplied with are of
  // the sums' order, so errors of both products count that often.
  const double split = tokens > 8 && codec != Codec::f32 ? 0x1p-15 : 0;
  for (const bool has_bias : {false, true}) {
    std::vector<float> expected(static_cast<std::size_t>(tokens * rows)), scratch(expected.size());
    AffineView<Device::cpu> gate = host(0), up = host(1);
    if (has_bias) gate.bias = bias.data();
    up.bias = bias.data() + rows;
    Queue<Device::cpu> cpu(1);
    gated_linear<Device::cpu>(cpu, view_of(x, tokens, cols), gate, up, view_of(expected, tokens, rows),
                              view_of(scratch, tokens, rows));
    double largest = 1;
    for (const float y : expected) largest = std::max(largest, std::fabs(double{y}));
    in_several_orders([&] {
      AffineView<G> gate_there = device(0), up_there = device(1);
      if (has_bias) gate_there.bias = bias_on_device.data();
      up_there.bias = bias_on_device.data() + rows;
      DeviceMatrix<> out(tokens, rows), overwritten(tokens, rows);
      Queue<G> queue(1);
      gated_linear<G>(queue, x_on_device.in(), gate_there, up_there, out.view(), overwritten.view());
      const std::vector<float> actual = out.host();
      const double bound = largest * static_cast<double>(cols) * (4 * tests::eps + split);
      for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], bound) << "number " << i;
    });
  }
}

TEST(GpuGated, MultipliesDenseMatrices) {
  for (Codec codec : tests::all_codecs()) {
    for (const auto& [rows, cols] :
         std::vector<std::pair<index_t, index_t>>{{1, 1}, {19, 70}, {9, 1101}, {33, 1104}, {9, 4112}}) {
      const RandomWeights weights[] = {{rows, cols, codec, 1}, {rows, cols, codec, 2}};
      const DeviceWeights on_device[] = {DeviceWeights(weights[0].view), DeviceWeights(weights[1].view)};
      for (index_t tokens : {0, 1, 3, 8, 9}) {
        check(
            rows, cols, tokens, codec,
            [&](int which) {
              return AffineView<Device::cpu>{weights[which].wide(), {}, nullptr};
            },
            [&](int which) {
              return AffineView<G>{on_device[which].view(), {}, nullptr};
            });
      }
    }
  }
}

void check_tiles(const RandomFactors& gate, const RandomFactors& up, index_t tokens) {
  const RandomFactors* weights[] = {&gate, &up};
  const DeviceFactors on_device[] = {DeviceFactors(gate), DeviceFactors(up)};
  check(
      gate.view.rows, gate.view.cols, tokens, gate.view.codec,
      [&](int which) {
        return AffineView<Device::cpu>{{}, {&weights[which]->view, 1}, nullptr};
      },
      [&](int which) {
        return AffineView<G>{{}, {&on_device[which].view(), 1}, nullptr};
      });
}

TEST(GpuGated, MultipliesTilesOfAllKindsAndRanks) {
  const auto gate_form = [](index_t i, index_t j) {
    if (i == 1) return factors(0);  // a tile row of no rank
    return (i + j) % 3 == 0 ? dense : (i + j) % 3 == 1 ? factors(5 * i + j) : interpolative(9 * i + j + 30);
  };
  const auto up_form = [](index_t i, index_t j) {
    return (i + j) % 3 == 0 ? interpolative(7 * i + 20 + j) : (i + j) % 3 == 1 ? dense : factors(11 * j + i + 1);
  };
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors gate(200, 330, 64, codec, gate_form), up(200, 330, 64, codec, up_form);
    for (index_t tokens : {0, 1, 2, 8, 11}) check_tiles(gate, up, tokens);
  }
}

TEST(GpuGated, MultipliesTilesWhereRowsAreFew) {
  // Of one piece a tile row, which is not split, and of several; and the other way round.
  const auto short_form = [](index_t i, index_t j) { return i == 1 ? factors(0) : j == 0 ? factors(90) : factors(3); };
  const auto long_form = [](index_t i, index_t j) {
    return j % 3 == 0 ? interpolative(9 * i + 30) : j % 3 == 1 ? dense : factors(11 * j + i + 1);
  };
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors first(130, 430, 100, codec, short_form), second(130, 430, 100, codec, long_form);
    for (index_t tokens : {1, 2, 8}) {
      check_tiles(first, second, tokens);
      check_tiles(second, first, tokens);
    }
  }
}

TEST(GpuGated, GivesTheSameBitsInEveryRun) {
  const RandomFactors gate(37, 330, 110, DType::bf16, [](index_t, index_t j) { return interpolative(5 + j); });
  const RandomFactors up(37, 330, 110, DType::bf16, [](index_t, index_t j) { return j == 1 ? dense : factors(7); });
  const DeviceFactors gate_there(gate), up_there(up);
  const DeviceMatrix<> x(random_floats(3 * 330, 4), 3, 330);
  std::vector<float> before;
  Queue<G> queue(1);
  in_several_orders([&] {
    DeviceMatrix<> out(3, 37), scratch(3, 37);
    gated_linear<G>(queue, x.in(), {{}, {&gate_there.view(), 1}, nullptr}, {{}, {&up_there.view(), 1}, nullptr},
                    out.view(), scratch.view());
    queue.wait();
    EXPECT_TRUE(before.empty() || before == out.host());
    before = out.host();
  });
}

TEST(GpuGated, MultipliesTilesThatBeginElsewhere) {
  const auto form = [](index_t i, index_t j) { return i == j ? dense : factors(3 + j); };
  const RandomFactors gate(130, 67, 64, DType::bf16, form), up(130, 67, 50, DType::bf16, form);
  for (index_t tokens : {1, 5}) check_tiles(gate, up, tokens);
}

TEST(GpuGated, WaitsForTheRunsOfBoth) {
  // As many tile rows as fill the GPU; the first matrix has more numbers than fit one block, the second has not.
  const index_t rows = 48 * cuda::multiprocessors();
  const RandomFactors gate(rows, 1024, 16, DType::bf16,
                           [](index_t, index_t j) { return j == 0 ? factors(16) : dense; });
  const RandomFactors up(rows, 1024, 16, DType::bf16, [](index_t, index_t j) { return factors(j % 9 == 0); });
  check_tiles(gate, up, 1);
}

TEST(GpuGated, MultipliesADenseMatrixAndTiles) {
  const RandomFactors tiles(70, 67, 64, DType::f32, [](index_t, index_t) { return interpolative(20); });
  const DeviceFactors tiles_there(tiles);
  const RandomWeights whole(70, 67, DType::f32, 1);
  const DeviceWeights whole_there(whole.view);
  for (const int tiled : {0, 1}) {
    check(
        70, 67, 2, Codec::f32,
        [&](int which) {
          return which == tiled ? AffineView<Device::cpu>{{}, {&tiles.view, 1}, nullptr}
                                : AffineView<Device::cpu>{whole.view, {}, nullptr};
        },
        [&](int which) {
          return which == tiled ? AffineView<G>{{}, {&tiles_there.view(), 1}, nullptr}
                                : AffineView<G>{whole_there.view(), {}, nullptr};
        });
  }
}

}  // namespace
}  // namespace hack::kernels
