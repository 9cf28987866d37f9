// Codes that are trained: what parameters make of them, their gradients, and that training lowers an MLP's error.

#include "svd/refine/refinable_codes.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "comm/communicator.hpp"
#include "svd/quantize/row_quantizer.hpp"
#include "svd/refine/mlp_refiner.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::svd {
namespace {

using tests::random_floats;

constexpr Codec codecs[] = {Codec::q8_0, Codec::q4_1, Codec::q4_0, Codec::iq4_nl, Codec::q3_64};

/// A random matrix and its codes, the nearest ones.
struct Coded {
  TileGrid grid;
  BlockGrid numbers;
  std::vector<float> values;  // (m, n)
  Buffer<double> h;           // (n, n) the unit matrix
  RowQuantizer quantizer;
  QuantizedRows rows;

  Coded(Codec codec, index_t m, index_t n, unsigned seed)
      : grid(m, n, 40, 40),
        numbers(codec),
        values(random_floats(m * n, seed)),
        h(unit(n)),
        quantizer({h.data(), n, n}, grid, numbers, {.sweep = false, .passes = 0}) {
    Queue<Device::cpu> queue(1);
    rows = quantizer.quantize(queue, grid, {"w", {0, grid.tile_rows()}, view()});
  }

  static Buffer<double> unit(index_t n) {
    Buffer<double> h(n * n);
    for (index_t i = 0; i < n * n; ++i) h.data()[i] = i % (n + 1) == 0 ? 1 : 0;
    return h;
  }
  MatrixView<const float> view() const { return {values.data(), grid.rows(), grid.cols()}; }
  QuantizedMatrix source() const { return {grid, numbers, rows, view()}; }
  std::size_t blocks() const { return quantizer.blocks().size(); }
};

/// Codes with their parameters and gradients.
struct Placed {
  RefinableCodes<Device::cpu> codes;
  std::vector<float> parameters, gradients;
  Queue<Device::cpu> queue{2};

  explicit Placed(const Coded& from)
      : codes(from.source()),
        parameters(static_cast<std::size_t>(codes.count())),
        gradients(static_cast<std::size_t>(codes.count())) {
    codes.place(parameters.data(), gradients.data());
    codes.rebuild(queue);
  }
};

TEST(RefinableCodes, BeginsWithTheCodesThatItIsGiven) {
  for (const Codec codec : codecs) {
    const Coded from(codec, 50, 70, 1);
    const Placed placed(from);
    EXPECT_EQ(placed.codes.quantized().codes, from.rows.codes) << to_string(codec);
    EXPECT_EQ(placed.codes.quantized().scales, from.rows.scales) << to_string(codec);
    std::vector<float> wide(from.values.size());
    from.quantizer.widen(from.rows, {wide.data(), 50, 70});
    EXPECT_TRUE(std::equal(wide.begin(), wide.end(), placed.codes.weights().data)) << to_string(codec);
  }
}

TEST(RefinableCodes, MovesCodesByOneAtMost) {
  for (const Codec codec : codecs) {
    const Coded from(codec, 3, 70, 2);
    Placed placed(from);
    const int last = from.numbers.count() - 1;
    const float moves[] = {0.6f, -0.6f, 7, -7, 0.4f, std::numeric_limits<float>::quiet_NaN()};
    const int expected[] = {1, -1, 1, -1, 0, 0};
    for (std::size_t i = 0; i < from.values.size(); ++i)
      placed.parameters[i] = moves[i % 6] / RefinableCodes<Device::cpu>::position_unit;
    placed.codes.rebuild(placed.queue);
    for (std::size_t i = 0; i < from.values.size(); ++i) {
      const int code = std::clamp(from.rows.codes[i] + expected[i % 6], 0, last);
      ASSERT_EQ(placed.codes.quantized().codes[i], code) << to_string(codec) << " " << i;
    }
  }
}

TEST(RefinableCodes, HasTheGradientsOfItsFormula) {
  for (const Codec codec : codecs) {
    const index_t m = 5, n = 70;
    const Coded from(codec, m, n, 3);
    Placed placed(from);
    const std::vector<float> dw = random_floats(m * n, 4);
    placed.codes.differentiate(placed.queue, {dw.data(), m, n});
    const BlockGrid& numbers = from.numbers;
    const int last = numbers.count() - 1;
    const double span = numbers.level(last) - numbers.level(0);
    const float* of_scales = placed.gradients.data() + m * n;
    const float* of_minima = of_scales + m * static_cast<index_t>(from.blocks());
    for (index_t i = 0; i < m; ++i) {
      for (std::size_t b = 0; b < from.blocks(); ++b) {
        const std::size_t block = static_cast<std::size_t>(i) * from.blocks() + b;
        const double d = from.rows.scales[block].scale;
        double scale = 0, minimum = 0;
        for (index_t j = from.quantizer.blocks()[b].begin; j < from.quantizer.blocks()[b].end; ++j) {
          const int q = from.rows.codes[static_cast<std::size_t>(i * n + j)];
          const int above = std::min(q + 1, last), below = std::max(q - 1, 0);
          const double spacing = (numbers.level(above) - numbers.level(below)) / (above - below);
          const double number = dw[static_cast<std::size_t>(i * n + j)];
          const double expected = RefinableCodes<Device::cpu>::position_unit * d * spacing * number;
          ASSERT_NEAR(placed.gradients[static_cast<std::size_t>(i * n + j)], expected, 1e-6 * std::fabs(expected));
          scale += d * numbers.level(q) * number;
          minimum += std::fabs(d) * span * number;
        }
        ASSERT_NEAR(of_scales[block], scale, 1e-5 * span * std::fabs(d)) << to_string(codec);
        if (numbers.has_minimum()) {
          ASSERT_NEAR(of_minima[block], minimum, 1e-5 * span * std::fabs(d));
        }
      }
    }
  }
}

/// f(x) = down (silu(gate x) * up x) in double.
std::vector<float> outputs(const Coded& gate, const Coded& up, const Coded& down, const std::vector<float>& inputs) {
  const index_t hidden = gate.grid.cols(), inner = gate.grid.rows();
  std::vector<float> out;
  for (std::size_t t = 0; t < inputs.size(); t += static_cast<std::size_t>(hidden)) {
    std::vector<double> product;
    for (index_t i = 0; i < inner; ++i) {
      double a = 0, b = 0;
      for (index_t j = 0; j < hidden; ++j) {
        a += double{gate.view()(i, j)} * inputs[t + static_cast<std::size_t>(j)];
        b += double{up.view()(i, j)} * inputs[t + static_cast<std::size_t>(j)];
      }
      product.push_back(a / (1 + std::exp(-a)) * b);
    }
    for (index_t i = 0; i < hidden; ++i) {
      double sum = 0;
      for (index_t j = 0; j < inner; ++j) sum += down.view()(i, j) * product[static_cast<std::size_t>(j)];
      out.push_back(static_cast<float>(sum));
    }
  }
  return out;
}

/// Inputs near a few directions, so that errors of one number can make up for those of others.
std::vector<float> related_inputs(index_t tokens, index_t hidden) {
  constexpr index_t directions = 5;
  const std::vector<float> basis = random_floats(directions * hidden, 5), parts = random_floats(tokens * directions, 6);
  std::vector<float> inputs = random_floats(tokens * hidden, 4);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < hidden; ++i) {
      float& x = inputs[static_cast<std::size_t>(t * hidden + i)];
      x *= 0.1f;
      for (index_t k = 0; k < directions; ++k)
        x += parts[static_cast<std::size_t>(t * directions + k)] * basis[static_cast<std::size_t>(k * hidden + i)];
    }
  }
  return inputs;
}

TEST(RefinableCodes, LowerTheErrorOfAnMlpOnAnyNumberOfRanks) {
  const comm::Communicator world = comm::Communicator::world();
  const index_t hidden = 24, inner = 40, tokens = 300;
  for (const Codec codec : codecs) {
    const Coded gate(codec, inner, hidden, 1), up(codec, inner, hidden, 2), down(codec, hidden, inner, 3);
    const std::vector<float> inputs = related_inputs(tokens, hidden), targets = outputs(gate, up, down, inputs);
    const auto refine = [&](const comm::Communicator& comm, Range mine) {
      RefinableCodes<Device::cpu> parts[] = {RefinableCodes<Device::cpu>(gate.source()),
                                             RefinableCodes<Device::cpu>(up.source()),
                                             RefinableCodes<Device::cpu>(down.source())};
      MlpRefiner<Device::cpu> refiner(parts[0], parts[1], parts[2],
                                      {.steps = 80, .rate = 5e-4, .epsilon = 1e-12, .batch = tokens});
      Queue<Device::cpu> queue(1);
      return refiner.refine(comm, queue, {inputs.data() + mine.begin * hidden, mine.size(), hidden},
                            {targets.data() + mine.begin * hidden, mine.size(), hidden});
    };
    const RefineReport alone = refine(comm::Communicator::self(), {0, tokens});
    EXPECT_LT(alone.loss_after, 0.8 * alone.loss_before) << to_string(codec);
    const RefineReport together = refine(world, even_part(tokens, world.size(), world.rank()));
    EXPECT_NEAR(together.loss_before, alone.loss_before, 1e-5 * alone.loss_before);
    EXPECT_NEAR(together.loss_after, alone.loss_after, 0.05 * alone.loss_before) << to_string(codec);
  }
}

}  // namespace
}  // namespace hack::svd
