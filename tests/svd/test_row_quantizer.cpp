#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "svd/quantize/row_quantizer.hpp"
#include "tests/svd/weighted_problem.hpp"

namespace hack::svd {
namespace {

using testing_support::Dense;
using testing_support::Problem;
using testing_support::trace_of_square;

const std::vector<Codec> formats = [] {
  std::vector<Codec> codecs;
  for (const CodecSpec& spec : term_codec_specs) {
    if (spec.block > 0) codecs.push_back(spec.codec);
  }
  return codecs;
}();

QuantizedRows quantize(const Problem& problem, Codec format, const QuantizeOptions& options, int threads = 1) {
  Queue<Device::cpu> queue(threads);
  const RowQuantizer quantizer(problem.h.view(), problem.grid, BlockGrid(format), options);
  return quantizer.quantize(queue, problem.grid, problem.all_rows());
}

/// What rows of codes stand for, number by number.
Dense widened(const Problem& problem, Codec format, const QuantizedRows& rows) {
  const BlockGrid grid(format);
  const std::vector<Range> blocks = blocks_of_row(problem.grid, grid.block());
  Dense out(problem.grid.rows(), problem.grid.cols());
  for (index_t r = 0; r < out.rows; ++r) {
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const BlockScale& scale = rows.scales[static_cast<std::size_t>(r) * blocks.size() + b];
      for (index_t c = blocks[b].begin; c < blocks[b].end; ++c) {
        out(r, c) = grid.value_of(rows.codes[static_cast<std::size_t>(r * out.cols + c)], scale);
      }
    }
  }
  return out;
}

double loss(const Problem& problem, Codec format, const QuantizeOptions& options) {
  const Dense out = widened(problem, format, quantize(problem, format, options));
  return trace_of_square(difference(problem.matrix(), out), problem.damped(options.damping));
}

/// Upper triangular U with a = Uᵀ U.
Dense upper_root(const Dense& a) {
  Dense u(a.rows, a.rows);
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = i; j < a.rows; ++j) {
      double sum = a(i, j);
      for (index_t k = 0; k < i; ++k) sum -= u(k, i) * u(k, j);
      u(i, j) = i == j ? std::sqrt(sum) : sum / u(i, i);
    }
  }
  return u;
}

Dense identity(index_t n) {
  Dense out(n, n);
  for (index_t i = 0; i < n; ++i) out(i, i) = 1;
  return out;
}

/// GPTQ as its paper has it: the factor of H⁻¹, one column at a time, the whole rest updated after each. The columns go
/// in order of H's diagonal.
std::vector<std::uint8_t> textbook_codes(const Problem& problem, Codec format, double damping,
                                         const std::vector<BlockScale>& scales) {
  const BlockGrid grid(format);
  const std::vector<Range> blocks = blocks_of_row(problem.grid, grid.block());
  const index_t m = problem.grid.rows(), n = problem.grid.cols();
  const Dense h = problem.damped(damping);
  std::vector<index_t> order;
  for (index_t c = 0; c < n; ++c) order.push_back(c);
  std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) { return h(a, a) > h(b, b); });
  Dense ordered(n, n), w(m, n);
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j < n; ++j)
      ordered(i, j) = h(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
    for (index_t r = 0; r < m; ++r) w(r, i) = problem.values()(r, order[static_cast<std::size_t>(i)]);
  }
  const Dense u = upper_root(solve(ordered, identity(n)));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(m * n));
  for (index_t i = 0; i < n; ++i) {
    const index_t c = order[static_cast<std::size_t>(i)];
    const auto block = static_cast<std::size_t>(
        std::find_if(blocks.begin(), blocks.end(), [&](const Range& at) { return c < at.end; }) - blocks.begin());
    for (index_t r = 0; r < m; ++r) {
      const BlockScale& scale = scales[static_cast<std::size_t>(r) * blocks.size() + block];
      const int code = grid.code_of(w(r, i), scale);
      codes[static_cast<std::size_t>(r * n + c)] = static_cast<std::uint8_t>(code);
      const double error = (w(r, i) - grid.value_of(code, scale)) / u(i, i);
      for (index_t k = i; k < n; ++k) w(r, k) -= error * u(i, k);
    }
  }
  return codes;
}

/// A pass over codes and scales in which every product with H is formed anew.
void plain_pass(const Problem& problem, Codec format, double damping, QuantizedRows& rows) {
  const BlockGrid grid(format);
  const std::vector<Range> blocks = blocks_of_row(problem.grid, grid.block());
  const index_t n = problem.grid.cols();
  const Dense h = problem.damped(damping);
  for (index_t r = 0; r < problem.grid.rows(); ++r) {
    std::uint8_t* codes = rows.codes.data() + r * n;
    BlockScale* scales = rows.scales.data() + static_cast<std::size_t>(r) * blocks.size();
    const auto errors = [&] {
      Dense e(1, n);
      for (std::size_t b = 0; b < blocks.size(); ++b) {
        for (index_t c = blocks[b].begin; c < blocks[b].end; ++c) {
          e(0, c) = problem.values()(r, c) - grid.value_of(codes[c], scales[b]);
        }
      }
      return e;
    };
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      for (index_t c = blocks[b].begin; c < blocks[b].end; ++c) {
        // The least loss of all codes, by trying each.
        double least = HUGE_VAL;
        int best = 0;
        for (int code = 0; code < grid.count(); ++code) {
          codes[c] = static_cast<std::uint8_t>(code);
          const double now = trace_of_square(errors(), h);
          if (now < least) best = code;
          least = std::min(least, now);
        }
        codes[c] = static_cast<std::uint8_t>(best);
      }
      // min over (d, m) of the loss: a system of one or two unknowns.
      const index_t unknowns = grid.has_minimum() ? 2 : 1;
      Dense basis(unknowns, n);
      for (index_t c = blocks[b].begin; c < blocks[b].end; ++c) {
        basis(0, c) = grid.level(codes[c]);
        if (unknowns == 2) basis(1, c) = 1;
      }
      const Dense change = solve(basis * h * transposed(basis), transposed(errors() * h * transposed(basis)));
      const double before = trace_of_square(errors(), h);
      const BlockScale old = scales[b];
      scales[b] = grid.rounded(old.scale + change(0, 0), old.minimum);
      if (unknowns == 2) {
        Dense one(1, n);
        for (index_t c = blocks[b].begin; c < blocks[b].end; ++c) one(0, c) = 1;
        const Dense minimum = solve(one * h * transposed(one), transposed(errors() * h * transposed(one)));
        scales[b].minimum = grid.rounded_minimum(old.minimum + minimum(0, 0), scales[b].scale);
      }
      if (trace_of_square(errors(), h) >= before) scales[b] = old;
    }
  }
}

/// Tiles of 48 columns: blocks of 32 and 16, and of 48 where blocks are longer; more columns than a panel has.
TileGrid odd_grid() { return {21, 150, 16, 48}; }

TEST(RowQuantizer, SweepsAsTheTextbook) {
  const Problem problem(odd_grid());
  for (Codec format : formats) {
    const QuantizedRows rows = quantize(problem, format, {.passes = 0});
    EXPECT_EQ(rows.codes, textbook_codes(problem, format, 0.01, rows.scales)) << to_string(format);
  }
}

TEST(RowQuantizer, DescendsAsThePlainLoop) {
  const Problem problem({3, 70, 16, 48});
  for (Codec format : {Codec::q4_0, Codec::iq4_nl, Codec::q4_1, Codec::q8_0}) {
    QuantizedRows expected = quantize(problem, format, {.passes = 0});
    plain_pass(problem, format, 0.01, expected);
    const QuantizedRows rows = quantize(problem, format, {.passes = 1});
    EXPECT_EQ(rows.codes, expected.codes) << to_string(format);
    EXPECT_EQ(rows.scales, expected.scales) << to_string(format);
  }
}

TEST(RowQuantizer, EachStepLosesLess) {
  const Problem problem({40, 192, 32, 64});
  for (Codec format : formats) {
    const double nearest = loss(problem, format, {.sweep = false, .passes = 0});
    const double swept = loss(problem, format, {.passes = 0});
    const double once = loss(problem, format, {.passes = 1});
    const double last = loss(problem, format, {.passes = 8});
    EXPECT_LT(swept, 0.8 * nearest) << to_string(format);
    EXPECT_LT(once, swept) << to_string(format);
    EXPECT_LT(last, once) << to_string(format);
    EXPECT_LT(loss(problem, format, {.sweep = false, .passes = 8}), nearest) << to_string(format);
  }
}

TEST(RowQuantizer, BitsDependOnTheRowsOfTilesAlone) {
  const Problem problem({150, 130, 70, 48});
  for (Codec format : {Codec::q4_0, Codec::q5_1}) {
    const QuantizedRows whole = quantize(problem, format, {}, 3);
    Queue<Device::cpu> queue(2);
    const RowQuantizer quantizer(problem.h.view(), problem.grid, BlockGrid(format), {});
    QuantizedRows parts;
    for (const Range range : {Range{0, 1}, Range{1, 3}}) {
      const index_t first = problem.grid.tile(range.begin, 0).row;
      const Tile last = problem.grid.tile(range.end - 1, 0);
      const QuantizedRows part = quantizer.quantize(
          queue, problem.grid, {"w", range, problem.values().rows_from(first, last.row + last.height - first)});
      parts.codes.insert(parts.codes.end(), part.codes.begin(), part.codes.end());
      parts.scales.insert(parts.scales.end(), part.scales.begin(), part.scales.end());
    }
    EXPECT_EQ(parts.codes, whole.codes) << to_string(format);
    EXPECT_EQ(parts.scales, whole.scales) << to_string(format);
  }
}

TEST(RowQuantizer, WidensToWhatCodesStandFor) {
  const Problem problem(odd_grid());
  for (Codec format : formats) {
    const RowQuantizer quantizer(problem.h.view(), problem.grid, BlockGrid(format), {});
    const QuantizedRows rows = quantize(problem, format, {});
    std::vector<float> out(problem.w.size());
    quantizer.widen(rows, {out.data(), problem.grid.rows(), problem.grid.cols()});
    Dense expected = widened(problem, format, rows);
    // Of scale times level and their sum with the minimum, each rounded once; the sum may be small.
    for (std::size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected.numbers[i], 4e-6) << to_string(format);
  }
}

TEST(RowQuantizer, TakesStatisticsOfFewAndOfDeadInputs) {
  Problem problem({20, 96, 32, 64}, 3, 5);  // 5 samples of 96 inputs
  for (index_t j = 0; j < 96; ++j) problem.h(7, j) = problem.h(j, 7) = 0;
  EXPECT_LT(loss(problem, Codec::q4_0, {}), loss(problem, Codec::q4_0, {.sweep = false, .passes = 0}));
  std::fill(problem.h.numbers.begin(), problem.h.numbers.end(), 0.0);
  EXPECT_NO_THROW(quantize(problem, Codec::q4_0, {}));
}

TEST(RowQuantizer, NamesTheTileThatIsNotFinite) {
  Problem problem({40, 96, 32, 64});
  problem.w[35 * 96 + 70] = std::numeric_limits<float>::quiet_NaN();
  try {
    quantize(problem, Codec::q4_0, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string_view(error.what()).find("tile (1, 1)"), std::string_view::npos) << error.what();
  }
  problem.w[35 * 96 + 70] = 0;
  problem.h(3, 3) = std::numeric_limits<double>::infinity();
  EXPECT_THROW(quantize(problem, Codec::q4_0, {}), Error);
}

TEST(BlockGrid, TakesTheNearestLevel) {
  for (Codec format : formats) {
    const BlockGrid grid(format);
    for (double x = grid.level(0) - 1.3; x < grid.level(grid.count() - 1) + 1.5; x += 0.25) {
      int best = 0;
      for (int code = 1; code < grid.count(); ++code) {
        if (std::fabs(grid.level(code) - x) < std::fabs(grid.level(best) - x)) best = code;
      }
      EXPECT_EQ(grid.nearest(x), best) << to_string(format) << " " << x;
    }
  }
}

TEST(BlockGrid, RoundsScalesAsTheyAreStored) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 1000; ++i) {
    const double x = std::exp(6 * normal(random)), y = -x * std::fabs(normal(random));
    const BlockScale half = BlockGrid(Codec::q4_1).rounded(x, y);
    EXPECT_EQ(half.scale, to_float(to_f16(static_cast<float>(std::min(x, 65504.0)))));
    EXPECT_EQ(half.minimum, to_float(to_f16(static_cast<float>(std::max(y, -65504.0)))));
  }
  EXPECT_EQ(BlockGrid(Codec::q4_0).rounded(-0.5, 3), (BlockScale{-0.5f, 0}));
  EXPECT_EQ(BlockGrid(Codec::q8_0).rounded(-0.5, 3), (BlockScale{0, 0}));
}

/// Against all scales that end at one of 400 shares of the range, and, where there is a minimum, begin at one of 60.
TEST(BlockGrid, FindsScalesNearTheBest) {
  std::mt19937 random(2);
  std::normal_distribution<double> normal;
  for (Codec format : formats) {
    const BlockGrid grid(format);
    std::vector<double> x, weights;
    for (index_t i = 0; i < grid.block(); ++i) {
      x.push_back(normal(random));
      weights.push_back(std::exp(normal(random)));
    }
    const auto error = [&](const BlockScale& scale) {
      double sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double e = x[i] - grid.value_of(grid.code_of(x[i], scale), scale);
        sum += weights[i] * e * e;
      }
      return sum;
    };
    double least = HUGE_VAL;
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    for (int end = 1; end <= 400; ++end) {
      if (!grid.has_minimum()) {
        const double largest = std::max(-*low, *high) * end / 350 / grid.level(grid.count() - 1);
        least = std::min(least, error(grid.rounded(largest, 0)));
        if (grid.has_signed_scale()) least = std::min(least, error(grid.rounded(-largest, 0)));
      }
      for (int begin = 0; grid.has_minimum() && begin < 60; ++begin) {
        const double start = *low + (*high - *low) * begin / 120;
        least = std::min(least, error(grid.rounded((*high - start) * end / 400 / grid.level(grid.count() - 1), start)));
      }
    }
    EXPECT_LT(error(grid.find(x, weights)), 1.1 * least) << to_string(format);
  }
  const std::vector<double> zeros(32, 0.0), ones(32, 1.0);
  EXPECT_EQ(BlockGrid(Codec::q4_0).find(zeros, ones), BlockScale{});
  EXPECT_EQ(BlockGrid(Codec::q4_1).find(ones, ones).minimum, 1.0f);
}

}  // namespace
}  // namespace hack::svd
