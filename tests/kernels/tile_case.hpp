#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <lapacke.h>

#include "kernels/tile_svd.hpp"

namespace hack::tests {

using Value = std::function<float(index_t, index_t)>;

/// A tile and room for its spectrum and k singular vectors.
struct TileCase {
  index_t h, w, r, k;
  std::vector<float> a;      // (h, w)
  std::vector<float> u;      // (h, k)
  std::vector<float> sigma;  // (r)
  std::vector<float> vt;     // (k, w)

  TileCase(index_t h_, index_t w_, const Value& value) : h(h_), w(w_), r(std::min(h_, w_)), a(h * w), sigma(r) {
    for (index_t i = 0; i < h; ++i) {
      for (index_t j = 0; j < w; ++j) a[i * w + j] = value(i, j);
    }
    keep(r);
  }
  void keep(index_t vectors) {
    k = vectors;
    u.assign(h * k, -7.0f);
    vt.assign(k * w, -7.0f);
  }
  MatrixView<const float> in() const { return {a.data(), h, w}; }
  kernels::TileSvd<Device::cpu> out() {
    return {{u.data(), h, k}, sigma.data(), {vt.data(), k, w}, kernels::SvdStatus::ok};
  }
};

inline kernels::SvdStatus factorize(std::vector<TileCase*> cases, int threads = 2) {
  Queue<Device::cpu> queue(threads);
  std::vector<MatrixView<const float>> in;
  std::vector<kernels::TileSvd<Device::cpu>> out;
  for (TileCase* c : cases) {
    in.push_back(c->in());
    out.push_back(c->out());
  }
  kernels::tile_svd<Device::cpu>(queue, in, out);
  return out.front().status;
}

inline kernels::SvdStatus factorize(TileCase& c) { return factorize({&c}); }

/// Singular values by LAPACK in double, of the same f32 numbers.
inline std::vector<double> reference_spectrum(const TileCase& c) {
  std::vector<double> a(c.a.begin(), c.a.end());
  std::vector<double> s(c.r), superb(c.r);
  double none = 0;
  const auto info =
      LAPACKE_dgesvd(LAPACK_ROW_MAJOR, 'N', 'N', static_cast<lapack_int>(c.h), static_cast<lapack_int>(c.w), a.data(),
                     static_cast<lapack_int>(c.w), s.data(), &none, 1, &none, 1, superb.data());
  EXPECT_EQ(info, 0);
  return s;
}

/// The largest |x_iᵀ x_j - δ_ij| over vectors of `size` numbers, number c of vector i at x[i * step + c * next].
inline double loss_of_orthogonality(const float* x, index_t count, index_t step, index_t size, index_t next) {
  double worst = 0;
  for (index_t i = 0; i < count; ++i) {
    for (index_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (index_t c = 0; c < size; ++c) sum += double{x[i * step + c * next]} * x[j * step + c * next];
      const double error = std::fabs(sum - (i == j ? 1.0 : 0.0));
      worst = error <= worst ? worst : error;
    }
  }
  return worst;
}

/// ‖A - U_k diag(sigma_k) V_kᵀ‖².
inline double squared_error(const TileCase& c) {
  double error = 0;
  std::vector<double> row(c.w);
  for (index_t i = 0; i < c.h; ++i) {
    for (index_t j = 0; j < c.w; ++j) row[j] = c.a[i * c.w + j];
    for (index_t l = 0; l < c.k; ++l) {
      const double us = double{c.u[i * c.k + l]} * c.sigma[l];
      for (index_t j = 0; j < c.w; ++j) row[j] -= us * c.vt[l * c.w + j];
    }
    for (index_t j = 0; j < c.w; ++j) error += row[j] * row[j];
  }
  return error;
}

/// Checks the gates of an f32 decomposition, in double. Values measured at n = 128 are below a third of them; LAPACK's
/// own errors of about 10 eps pass, too.
inline void expect_gates(const TileCase& c, const std::vector<double>& expected) {
  for (index_t i = 0; i < c.r; ++i) {
    ASSERT_LE(std::fabs(c.sigma[i] - expected[i]), 3e-6 * expected[0]) << "sigma " << i;
    ASSERT_GE(c.sigma[i], 0.0f);
    ASSERT_LE(c.sigma[i], c.sigma[std::max<index_t>(i - 1, 0)]);
  }
  EXPECT_LE(loss_of_orthogonality(c.u.data(), c.k, 1, c.h, c.k), 1e-5);
  EXPECT_LE(loss_of_orthogonality(c.vt.data(), c.k, c.w, c.w, 1), 1e-5);

  double norm = 0, kept = 0, tail = 0;  // squared
  for (float x : c.a) norm += double{x} * x;
  for (index_t i = 0; i < c.r; ++i) (i < c.k ? kept : tail) += std::pow(i < c.k ? c.sigma[i] : expected[i], 2);
  const double error = squared_error(c);
  // Eckart-Young: at least the tail. The vectors' own error may add 1e-6 of it; rounding of factors to f32 adds in
  // squares, at most what a full decomposition may be off.
  const double backward = c.k == c.r ? 5e-6 : 1e-6;
  EXPECT_LE(error, tail * std::pow(1 + 1e-6, 2) + backward * backward * norm);
  EXPECT_LE(std::fabs(norm - kept - error), 1e-5 * norm);
}

/// Factorizes and checks.
inline void expect_decomposition(TileCase& c, const std::vector<double>& expected) {
  SCOPED_TRACE(std::to_string(c.h) + "x" + std::to_string(c.w) + " vectors " + std::to_string(c.k));
  ASSERT_EQ(factorize(c), kernels::SvdStatus::ok);
  expect_gates(c, expected);
}

/// Whether the vectors that both decompositions of a tile have are the same, bit by bit.
inline bool begin_alike(const TileCase& x, const TileCase& y) {
  const index_t k = std::min(x.k, y.k);
  for (index_t i = 0; i < x.h; ++i) {
    const float* row = x.u.data() + i * x.k;
    if (!std::equal(row, row + k, y.u.data() + i * y.k)) return false;
  }
  return std::equal(x.vt.begin(), x.vt.begin() + k * x.w, y.vt.begin());
}

/// The same for several numbers of vectors; bits of spectrum and vectors must not depend on them.
inline void expect_decompositions(TileCase& c, const std::string& what, std::vector<index_t> vectors) {
  SCOPED_TRACE(what);
  const std::vector<double> expected = reference_spectrum(c);
  std::optional<TileCase> before;
  for (index_t k : vectors) {
    if (k > c.r) continue;
    c.keep(k);
    expect_decomposition(c, expected);
    EXPECT_TRUE(!before || before->sigma == c.sigma) << k << " vectors";
    EXPECT_TRUE(!before || begin_alike(*before, c)) << k << " vectors";
    before = c;
  }
}

/// Normal numbers, the same for the same seed.
inline Value gaussian(unsigned seed, float scale = 1) {
  return [engine = std::mt19937(seed), normal = std::normal_distribution<float>(), scale](index_t, index_t) mutable {
    return scale * normal(engine);
  };
}

/// Σ_k s_k x_k y_kᵀ with x_k, y_k columns of cosine matrices, which are orthogonal.
inline Value with_spectrum(index_t n, std::function<double(index_t)> s, index_t terms) {
  const auto cosine = [n](index_t i, index_t k) {
    return std::sqrt((k == 0 ? 1.0 : 2.0) / static_cast<double>(n)) *
           std::cos(M_PI * (static_cast<double>(i) + 0.5) * static_cast<double>(k) / static_cast<double>(n));
  };
  return [=](index_t i, index_t j) {
    double sum = 0;
    for (index_t k = 0; k < terms; ++k) sum += s(k) * cosine(i, k) * cosine(j, (k * 7 + 3) % n);
    return static_cast<float>(sum);
  };
}

}  // namespace hack::tests
