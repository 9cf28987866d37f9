// What training of factors needs, against the CPU's.

#include <gtest/gtest.h>

#include "kernels/gradient.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/gpu/near_numbers.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::eps;
using tests::expect_near;
using tests::in_several_orders;
using tests::random_floats;
using tests::view_of;
using tests::zeros;

constexpr Device G = Device::cuda;

struct Shape {
  index_t tokens, out, in;
};
constexpr Shape shapes[] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {70, 67, 19}, {40, 131, 10}, {0, 3, 4}};

TEST(GpuGradient, OfWeightsAndInputs) {
  for (const auto& [tokens, out, in] : shapes) {
    SCOPED_TRACE(testing::Message() << tokens << ", " << out << ", " << in);
    const std::vector<float> dy = random_floats(tokens * out, 1), x = random_floats(tokens * in, 2);
    const std::vector<float> w = random_floats(out * in, 3);
    std::vector<float> dw = zeros(out * in), dx = zeros(tokens * in);
    Queue<Device::cpu> host(1);
    weight_gradient<Device::cpu>(host, view_of(dy, tokens, out), view_of(x, tokens, in), view_of(dw, out, in));
    input_gradient<Device::cpu>(host, view_of(dy, tokens, out), view_of(w, out, in), view_of(dx, tokens, in));
    const DeviceMatrix<> dy_there(dy, tokens, out), x_there(x, tokens, in), w_there(w, out, in);
    in_several_orders([&] {
      DeviceMatrix<> dw_there(out, in), dx_there(tokens, in);
      Queue<G> queue(1);
      weight_gradient<G>(queue, dy_there.in(), x_there.in(), dw_there.view());
      input_gradient<G>(queue, dy_there.in(), w_there.in(), dx_there.view());
      expect_near(dw_there.host(), dw, static_cast<double>(tokens + 1) * eps);
      expect_near(dx_there.host(), dx, static_cast<double>(out + 1) * eps);
    });
  }
}

TEST(GpuGradient, OfSwiGlu) {
  for (const auto& [tokens, n, unused] : shapes) {
    std::vector<float> gate = random_floats(tokens * n, 1);
    for (float& a : gate) a *= 30;  // where exp is tiny and where it is huge
    if (!gate.empty()) gate[0] = 200;
    const std::vector<float> up = random_floats(tokens * n, 2), dout = random_floats(tokens * n, 3);
    std::vector<float> out = zeros(tokens * n), d_gate = gate, d_up = up;
    Queue<Device::cpu> host(1);
    swiglu_into<Device::cpu>(host, view_of(gate, tokens, n), view_of(up, tokens, n), view_of(out, tokens, n));
    swiglu_gradient<Device::cpu>(host, view_of(dout, tokens, n), view_of(d_gate, tokens, n), view_of(d_up, tokens, n));
    DeviceMatrix<> gate_there(gate, tokens, n), up_there(up, tokens, n), out_there(tokens, n);
    const DeviceMatrix<> dout_there(dout, tokens, n);
    Queue<G> queue(1);
    swiglu_into<G>(queue, gate_there.in(), up_there.in(), out_there.view());
    swiglu_gradient<G>(queue, dout_there.in(), gate_there.view(), up_there.view());
    expect_near(out_there.host(), out, 8 * eps);
    // 1 + a (1 - s) cancels where a is large: a ulps of s.
    expect_near(gate_there.host(), d_gate, 200 * eps);
    expect_near(up_there.host(), d_up, 8 * eps);
  }
}

TEST(GpuGradient, OfSquaredErrors) {
  for (const auto& [tokens, n, unused] : shapes) {
    const std::vector<float> target = random_floats(tokens * n, 1), y = random_floats(tokens * n, 2);
    const std::vector<float> weights = random_floats(tokens, 3);
    for (const bool is_weighted : {false, true}) {
      std::vector<float> d_y = y, squares = zeros(tokens);
      Queue<Device::cpu> host(1);
      output_error<Device::cpu>(host, view_of(target, tokens, n), is_weighted ? weights.data() : nullptr, 0.3f,
                                view_of(d_y, tokens, n), squares.data());
      const DeviceMatrix<> target_there(target, tokens, n), weights_there(weights, 1, tokens);
      in_several_orders([&] {
        DeviceMatrix<> y_there(y, tokens, n), squares_there(1, tokens);
        Queue<G> queue(1);
        output_error<G>(queue, target_there.in(), is_weighted ? weights_there.data() : nullptr, 0.3f, y_there.view(),
                        squares_there.view().data);
        expect_near(y_there.host(), d_y, 0);
        expect_near(squares_there.host(), squares, static_cast<double>(n) * eps);
      });
    }
  }
}

struct Place {
  index_t row, col, h, k, w;
};

template <Device D>
std::vector<FactorTile<D>> tiles_of(const float* numbers, float* gradients) {
  std::vector<FactorTile<D>> tiles;
  index_t at = 0;
  for (const auto& [row, col, h, k, w] :
       {Place{0, 0, 70, 9, 17}, Place{0, 17, 5, 5, 23}, Place{70, 0, 30, 1, 40}, Place{5, 17, 65, 67, 23}}) {
    const index_t right = at + h * k;
    tiles.push_back(
        {row, col, {numbers + at, h, k}, {numbers + right, k, w}, {gradients + at, h, k}, {gradients + right, k, w}});
    at = right + k * w;
  }
  return tiles;
}

TEST(GpuGradient, OfTileFactors) {
  const index_t rows = 101, cols = 41, count = 9000;
  const std::vector<float> numbers = random_floats(count, 1), dw = random_floats(rows * cols, 2);
  std::vector<float> w(static_cast<std::size_t>(rows * cols), 7.0f), gradients = zeros(count);
  Queue<Device::cpu> host(1);
  const auto tiles = tiles_of<Device::cpu>(numbers.data(), gradients.data());
  multiply_factors<Device::cpu>(host, tiles, view_of(w, rows, cols));
  factor_gradients<Device::cpu>(host, view_of(dw, rows, cols), tiles);
  const DeviceMatrix<> numbers_there(numbers, 1, count), dw_there(dw, rows, cols);
  in_several_orders([&] {
    DeviceMatrix<> w_there(std::vector<float>(w.size(), 7.0f), rows, cols), gradients_there(zeros(count), 1, count);
    const auto there = tiles_of<G>(numbers_there.data(), gradients_there.view().data);
    Queue<G> queue(1);
    multiply_factors<G>(queue, there, w_there.view());
    factor_gradients<G>(queue, dw_there.in(), there);
    expect_near(w_there.host(), w, 70 * eps);
    expect_near(gradients_there.host(), gradients, 70 * eps);
    multiply_factors<G>(queue, {}, w_there.view());
  });
}

TEST(GpuAdam, StepsAsTheCpuDoes) {
  for (const index_t n : {0, 1, 1030, 2049}) {
    std::vector<float> mean = zeros(n), square = zeros(n), x = random_floats(n, 1);
    DeviceMatrix<> mean_there(mean, 1, n), square_there(square, 1, n), x_there(x, 1, n);
    Queue<Device::cpu> host(1);
    Queue<G> queue(1);
    for (int number = 1; number <= 3; ++number) {
      const std::vector<float> gradient = random_floats(n, static_cast<unsigned>(number + 1));
      const DeviceMatrix<> gradient_there(gradient, 1, n);
      const AdamStep step{.rate = 1e-2, .number = number};
      adam<Device::cpu>(host, step, gradient.data(), mean.data(), square.data(), x.data(), n);
      adam<G>(queue, step, gradient_there.data(), mean_there.view().data, square_there.view().data, x_there.view().data,
              n);
    }
    expect_near(mean_there.host(), mean, 4 * eps);
    expect_near(square_there.host(), square, 4 * eps);
    // Three steps of at most the rate each, of numbers off by some roundings.
    expect_near(x_there.host(), x, 8 * eps);
  }
}

}  // namespace
}  // namespace hack::kernels
