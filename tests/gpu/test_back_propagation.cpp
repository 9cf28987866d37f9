// Gradients of whole models, against the CPU's.

#include <gtest/gtest.h>

#include "kernels/back_propagation.hpp"
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

TEST(GpuBackPropagation, OfNorms) {
  for (const auto& [tokens, n] : {std::pair<index_t, index_t>{1, 1}, {5, 70}, {3, 300}, {0, 4}}) {
    const std::vector<float> x = random_floats(tokens * n, 1), dy = random_floats(tokens * n, 2);
    const std::vector<float> weight = random_floats(n, 3), before = random_floats(tokens * n, 4);
    std::vector<float> dx = before;
    Queue<Device::cpu> host(1);
    rms_norm_gradient<Device::cpu>(host, view_of(dy, tokens, n), view_of(x, tokens, n), weight.data(), 1e-3f,
                                   view_of(dx, tokens, n));
    const DeviceMatrix<> x_there(x, tokens, n), dy_there(dy, tokens, n), weight_there(weight, 1, n);
    in_several_orders([&] {
      DeviceMatrix<> dx_there(before, tokens, n);
      Queue<G> queue(1);
      rms_norm_gradient<G>(queue, dy_there.in(), x_there.in(), weight_there.data(), 1e-3f, dx_there.view());
      // Factors up to 1 / √1e-3, of sums of n terms.
      expect_near(dx_there.host(), dx, 30 * static_cast<double>(n + 4) * eps);
    });
  }
}

TEST(GpuBackPropagation, OfTheDivergence) {
  for (const auto& [tokens, n] : {std::pair<index_t, index_t>{1, 1}, {5, 70}, {3, 300}}) {
    const std::vector<float> l = random_floats(tokens * n, 1), m = random_floats(tokens * n, 2);
    const std::vector<float> log_l = random_floats(tokens, 3), log_m = random_floats(tokens, 4);
    std::vector<float> gradient = m, divergences = zeros(tokens), maxima = zeros(tokens), sums = zeros(tokens);
    Queue<Device::cpu> host(1);
    exp_sums<Device::cpu>(host, view_of(m, tokens, n), maxima.data(), sums.data());
    divergence_gradient<Device::cpu>(host, view_of(l, tokens, n), {log_l.data(), log_m.data()}, 0.3f,
                                     view_of(gradient, tokens, n), divergences.data());
    const DeviceMatrix<> l_there(l, tokens, n), log_l_there(log_l, 1, tokens), log_m_there(log_m, 1, tokens);
    in_several_orders([&] {
      DeviceMatrix<> m_there(m, tokens, n), found(1, tokens), maxima_there(1, tokens), sums_there(1, tokens);
      Queue<G> queue(1);
      exp_sums<G>(queue, m_there.in(), maxima_there.view().data, sums_there.view().data);
      divergence_gradient<G>(queue, l_there.in(), {log_l_there.data(), log_m_there.data()}, 0.3f, m_there.view(),
                             found.view().data);
      EXPECT_EQ(maxima_there.host(), maxima);
      expect_near(sums_there.host(), sums, static_cast<double>(n) * eps);
      // Terms of at most e² (2 + 4), n of them.
      expect_near(found.host(), divergences, 50 * static_cast<double>(n) * eps);
      expect_near(m_there.host(), gradient, 16 * eps);
    });
  }
}

TEST(GpuBackPropagation, OfAttention) {
  struct Shape {
    index_t tokens, heads, kv_heads, dim;
  };
  for (const auto& [tokens, heads, kv_heads, dim] :
       {Shape{1, 1, 1, 2}, Shape{7, 4, 2, 6}, Shape{140, 2, 1, 6}, Shape{3, 2, 2, 136}}) {
    const std::vector<float> q = random_floats(tokens * heads * dim, 1), dout = random_floats(tokens * heads * dim, 4);
    const std::vector<float> k = random_floats(tokens * kv_heads * dim, 2);
    const std::vector<float> v = random_floats(tokens * kv_heads * dim, 3);
    std::vector<int> kv_of_head;
    for (index_t h = 0; h < heads; ++h) kv_of_head.push_back(static_cast<int>(h * kv_heads / heads));
    std::vector<float> dq = q, dk = k, dv = v, keys = k, values = v;
    Queue<Device::cpu> host(1);
    const index_t width = heads * dim, kv_width = kv_heads * dim;
    attention_gradient<Device::cpu>(
        host,
        {view_of(q, tokens, width),
         {keys.data(), kv_heads, tokens, dim},
         {values.data(), kv_heads, tokens, dim},
         kv_of_head},
        view_of(dout, tokens, width),
        {view_of(dq, tokens, width), view_of(dk, tokens, kv_width), view_of(dv, tokens, kv_width)});
    const DeviceMatrix<> q_there(q, tokens, width), dout_there(dout, tokens, width);
    in_several_orders([&] {
      DeviceMatrix<> keys_there(k, tokens, kv_width), values_there(v, tokens, kv_width);
      DeviceMatrix<> dq_there(tokens, width), dk_there(tokens, kv_width), dv_there(tokens, kv_width);
      Queue<G> queue(1);
      attention_gradient<G>(queue,
                            {q_there.in(),
                             {keys_there.view().data, kv_heads, tokens, dim},
                             {values_there.view().data, kv_heads, tokens, dim},
                             kv_of_head},
                            dout_there.in(), {dq_there.view(), dk_there.view(), dv_there.view()});
      // Sums over tokens and dimensions of terms of order 1, on both sides.
      const double bound = static_cast<double>(tokens + 2 * dim) * 4 * eps;
      expect_near(dq_there.host(), dq, bound);
      expect_near(dk_there.host(), dk, bound);
      expect_near(dv_there.host(), dv, bound);
    });
  }
}

}  // namespace
}  // namespace hack::kernels
