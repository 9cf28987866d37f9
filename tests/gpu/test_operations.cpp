// Each operation of the GPU, run against the CPU's at sizes that fit no block.

#include <gtest/gtest.h>

#include "kernels/elementwise.hpp"
#include "kernels/gram.hpp"
#include "kernels/copy.hpp"
#include "kernels/linear.hpp"
#include "tests/kernels/random_data.hpp"
#include "tests/gpu/device_data.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::DeviceWeights;
using tests::eps;
using tests::in_several_orders;
using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

constexpr Device G = Device::cuda;

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double bound) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], bound) << "number " << i;
}

/// Runs an operation that changes a matrix (rows, cols) on both devices.
template <class Run>
void expect_twins(index_t rows, index_t cols, double bound, const Run& run) {
  SCOPED_TRACE(testing::Message() << rows << " x " << cols);
  std::vector<float> expected = random_floats(rows * cols, 1);
  DeviceMatrix<> y(expected, rows, cols);
  Queue<Device::cpu> host(2);
  run(host, view_of(expected, rows, cols));
  in_several_orders([&] {
    Queue<G> queue(2);
    DeviceMatrix<> copy(y.host(), rows, cols);
    run(queue, copy.view());
    expect_near(copy.host(), expected, bound);
  });
}

const std::vector<std::pair<index_t, index_t>> odd_sizes = {{1, 1}, {3, 70}, {2, 1024}, {5, 1100}, {1, 2050}, {0, 4}};

template <Device D>
MatrixView<const float, D> placed(const std::vector<float>& host, const DeviceMatrix<>& device, index_t rows,
                                  index_t cols) {
  if constexpr (D == G) {
    return device.in();
  } else {
    return view_of(host, rows, cols);
  }
}

template <Device D>
const float* placed(const std::vector<float>& host, const DeviceMatrix<>& device) {
  return D == G ? device.data() : host.data();
}

TEST(GpuElementwise, AddsAndAddsABias) {
  for (const auto& [rows, cols] : odd_sizes) {
    const std::vector<float> x = random_floats(rows * cols, 2), bias = random_floats(cols, 3);
    const DeviceMatrix<> on_device(x, rows, cols), bias_on_device(bias, 1, cols);
    expect_twins(rows, cols, 0, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> y) {
      add<D>(queue, placed<D>(x, on_device, y.rows, y.cols), y);
      add_bias<D>(queue, placed<D>(bias, bias_on_device), y);
    });
  }
}

TEST(GpuElementwise, NormalizesRows) {
  for (const auto& [rows, cols] : odd_sizes) {
    const std::vector<float> weight = random_floats(cols, 2);
    const DeviceMatrix<> on_device(weight, 1, cols);
    // Of order 1 to 2; the sum of squares is off by its terms' roundings.
    expect_twins(rows, cols, 64 * eps, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> y) {
      rms_norm<D>(queue, y, placed<D>(weight, on_device), 1e-5f, y);
    });
  }
}

/// Rows of whole fours, as models have them, and rows longer than a block's threads hold.
TEST(GpuElementwise, AddsAndNormalizesRows) {
  std::vector<std::pair<index_t, index_t>> sizes(std::begin(odd_sizes), std::end(odd_sizes));
  sizes.insert(sizes.end(), {{1, 4}, {3, 132}, {2, 4352}, {1, 16 * 1024 + 4}});
  for (const auto& [rows, cols] : sizes) {
    const std::vector<float> weight = random_floats(cols, 2), y = random_floats(rows * cols, 3);
    const DeviceMatrix<> weight_on_device(weight, 1, cols), y_on_device(y, rows, cols);
    const double bound = (64 + std::sqrt(static_cast<double>(cols))) * eps;
    for (const bool returns_sum : {false, true}) {
      expect_twins(rows, cols, returns_sum ? 0 : bound, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> x) {
        Buffer<float, D> other(rows * cols);
        const MatrixView<float, D> second(other.data(), x.rows, x.cols);
        // What is compared is x: the sum, or what its norm wrote over it.
        add_and_norm<D>(queue, placed<D>(y, y_on_device, x.rows, x.cols), x, placed<D>(weight, weight_on_device), 1e-5f,
                        second);
        if (!returns_sum) copy<D, float>(queue, second, x);
        queue.wait();
      });
    }
    expect_twins(rows, cols, bound, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> x) {
      rms_norm<D>(queue, x, placed<D>(weight, weight_on_device), 1e-5f, x);
    });
  }
}

TEST(GpuElementwise, GatesUpBySiluOfGate) {
  for (const auto& [rows, cols] : odd_sizes) {
    const std::vector<float> up = random_floats(rows * cols, 2);
    const DeviceMatrix<> on_device(up, rows, cols);
    expect_twins(rows, cols, 8 * eps, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> gate) {
      swiglu<D>(queue, placed<D>(up, on_device, gate.rows, gate.cols), gate);
    });
  }
}

TEST(GpuElementwise, RotatesHeads) {
  for (index_t head_dim : {2, 6, 64}) {
    std::vector<float> frequencies;
    for (index_t i = 0; i < head_dim / 2; ++i) frequencies.push_back(std::pow(0.5f, static_cast<float>(i)));
    const DeviceMatrix<> on_device(frequencies, 1, head_dim / 2);
    expect_twins(3, 5 * head_dim, 8 * eps, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> x) {
      rope<D>(queue, head_dim, 17, placed<D>(frequencies, on_device), x);
    });
  }
}

TEST(GpuElementwise, EmbedsWhatIsInTheShard) {
  for (Codec codec : tests::all_codecs()) {
    const RandomWeights table(9, 70, codec, 1);
    const DeviceWeights on_device(table.view);
    for (index_t tokens : {1, 7, 600}) {
      std::vector<int> ids;
      for (index_t t = 0; t < tokens; ++t) ids.push_back(static_cast<int>(t * 5 % 14));
      expect_twins(tokens, 70, 0, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> out) {
        if constexpr (D == G) {
          embed<D>(queue, ids, on_device.view(), 2, out);
        } else {
          embed<D>(queue, ids, table.view, 2, out);
        }
      });
    }
  }
}

/// A state in memory of D.
template <Device D>
class PlacedState {
 public:
  explicit PlacedState(const DecodeState& state) : state_(to_device<D>(&state, 1)) {}
  const DecodeState* get() const { return state_.data(); }

 private:
  Buffer<DecodeState, D> state_;
};

TEST(GpuElementwise, EmbedsTheTokenThatMemoryNames) {
  for (Codec codec : tests::all_codecs()) {
    const RandomWeights table(9, 1030, codec, 1);
    const DeviceWeights on_device(table.view);
    for (const int id : {1, 2, 10, 11}) {  // the shard has 2 … 10
      expect_twins(1, 1030, 0, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> out) {
        const PlacedState<D> state({.position = 4, .draw = 0, .id = id});
        if constexpr (D == G) {
          embed<D>(queue, state.get(), on_device.view(), 2, out);
        } else {
          embed<D>(queue, state.get(), table.view, 2, out);
        }
        queue.wait();
      });
    }
  }
}

TEST(GpuElementwise, RotatesByThePositionInMemory) {
  const std::vector<float> frequencies = {1, 0.3f, 0.01f};
  const DeviceMatrix<> on_device(frequencies, 1, 3);
  expect_twins(1, 30, 8 * eps, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> x) {
    const PlacedState<D> state({.position = 17, .draw = 0, .id = 3});
    rope<D>(queue, 6, state.get(), placed<D>(frequencies, on_device), x);
    queue.wait();
  });
}

TEST(GpuElementwise, ClearsRows) {
  for (const auto& [rows, cols] : odd_sizes) {
    expect_twins(rows, cols, 0, []<Device D>(Queue<D>& queue, MatrixView<float, D> y) { clear<D>(queue, y); });
    if (rows < 2) continue;
    expect_twins(rows, cols, 0, []<Device D>(Queue<D>& queue, MatrixView<float, D> y) {
      clear<D>(queue, y.block(1, 1, y.rows - 1, y.cols - 1));
    });
  }
}

TEST(GpuLinear, MultipliesAsTheCpuDoes) {
  for (Codec codec : tests::all_codecs()) {
    for (const auto& [rows, cols] :
         std::vector<std::pair<index_t, index_t>>{{1, 1}, {19, 70}, {9, 1101}, {33, 1104}, {9, 4112}}) {
      const RandomWeights w(rows, cols, codec, 1);
      const DeviceWeights on_device(w.view);
      for (index_t tokens : {1, 3, 8, 9}) {
        const std::vector<float> x = random_floats(tokens * cols, 2);
        const DeviceMatrix<> x_on_device(x, tokens, cols);
        for (Write write : {Write::replace, Write::add}) {
          // Sums of `cols` terms below 1. Many tokens: x in two parts of eight bits each lacks 2^-18; weights that are
          // widened from blocks as much again, and the product of both small parts is no larger.
          const double lacking = (spec_of(codec).block > 0 ? 3 : 1) * 0x1p-18;
          const double bound = static_cast<double>(cols) * (static_cast<double>(cols) * eps / 128 + lacking) + eps;
          expect_twins(tokens, rows, bound, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> y) {
            if constexpr (D == G) {
              linear<D>(queue, x_on_device.in(), on_device.view(), y, write);
            } else {
              linear<D>(queue, view_of(x, tokens, cols), w.wide(), y, write);
            }
          });
        }
      }
    }
  }
}

TEST(GpuLinear, TakesNoColumns) {
  for (index_t tokens : {1, 20}) {
    for (Write write : {Write::replace, Write::add}) {
      expect_twins(tokens, 7, 0, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> y) {
        linear<D>(queue, {nullptr, tokens, 0}, {nullptr, Codec::bf16, 7, 0, 0}, y, write);
      });
    }
  }
}

TEST(GpuLinear, TakesRowsThatAreNotAligned) {
  const RandomWeights w(20, 77, DType::bf16, 1);
  const DeviceWeights on_device(w.view);
  const std::vector<float> x = random_floats(77, 2);
  const DeviceMatrix<> x_on_device(x, 1, 77);
  expect_twins(1, 12, 77 * eps, [&]<Device D>(Queue<D>& queue, MatrixView<float, D> y) {
    if constexpr (D == G) {
      linear<D>(queue, x_on_device.in(), on_device.view().rows_from(3, 12), y, Write::replace);
    } else {
      linear<D>(queue, view_of(x, 1, 77), w.view.rows_from(3, 12), y, Write::replace);
    }
  });
}

TEST(GpuGram, AddsOuterProducts) {
  for (const auto& [m, n] : std::vector<std::pair<index_t, index_t>>{{1, 1}, {33, 65}, {70, 31}}) {
    for (index_t tokens : {1, 40}) {
      const std::vector<float> a = random_floats(tokens * m, 1), b = random_floats(tokens * n, 2);
      const DeviceMatrix<> a_on_device(a, tokens, m), b_on_device(b, tokens, n);
      std::vector<double> expected(static_cast<std::size_t>(m * n), 0.25);
      in_several_orders([&] {
        DeviceMatrix<double> sum(std::vector<double>(expected.size(), 0.25), m, n);
        Queue<G> queue(1);
        add_outer_products<G>(queue, a_on_device.in(), b_on_device.in(), sum.view());
        const std::vector<double> actual = sum.host();
        for (index_t i = 0; i < m; ++i) {
          for (index_t j = 0; j < n; ++j) {
            double value = 0.25;
            for (index_t t = 0; t < tokens; ++t) value += double{a[t * m + i]} * b[t * n + j];
            ASSERT_NEAR(actual[i * n + j], value, static_cast<double>(tokens * tokens) * eps);
          }
        }
      });
    }
  }
}

TEST(GpuGram, AddsTheLowerTriangle) {
  const index_t n = 75, tokens = 33;
  const std::vector<float> x = random_floats(tokens * n, 1);
  const DeviceMatrix<> on_device(x, tokens, n);
  std::vector<double> expected(n * n, 1.0);
  Queue<Device::cpu> host(1);
  add_gram<Device::cpu>(host, view_of(x, tokens, n), MatrixView<double>(expected.data(), n, n));
  DeviceMatrix<double> sum(std::vector<double>(n * n, 1.0), n, n);
  Queue<G> queue(1);
  add_gram<G>(queue, on_device.in(), sum.view());
  const std::vector<double> actual = sum.host();
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j <= i; ++j) ASSERT_NEAR(actual[i * n + j], expected[i * n + j], tokens * tokens * eps);
  }
}

}  // namespace
}  // namespace hack::kernels
