#include "kernels/cpu/factorize/symmetric_reduction.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/factorize/symmetric_reduction.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using Vector = hn::Vec<Doubles>;

constexpr index_t lanes = hn::MaxLanes(Doubles());
static_assert(vector_panel % (2 * lanes) == 0);

constexpr index_t rounded_up(index_t n, index_t unit) { return (n + unit - 1) / unit * unit; }

HWY_INLINE double sum_of(Vector v) { return hn::GetLane(hn::SumOfLanes(Doubles(), v)); }

/// c (row_group, 2 lanes) = Σ_p a_pr b_p, with a_pr at a[p step + r row_step] and b_p at b + p ldb.
HWY_INLINE void multiply_block(const double* HWY_RESTRICT a, index_t step, index_t row_step,
                               const double* HWY_RESTRICT b, index_t ldb, index_t depth, double* HWY_RESTRICT c,
                               index_t ldc) {
  const Doubles d;
  Vector sums[row_group][2];
#pragma GCC unroll 4
  for (index_t r = 0; r < row_group; ++r) sums[r][0] = sums[r][1] = hn::Zero(d);
  for (index_t p = 0; p < depth; ++p) {
    const Vector left = hn::Load(d, b + p * ldb);
    const Vector right = hn::Load(d, b + p * ldb + lanes);
#pragma GCC unroll 4
    for (index_t r = 0; r < row_group; ++r) {
      const Vector factor = hn::Set(d, a[p * step + r * row_step]);
      sums[r][0] = hn::MulAdd(factor, left, sums[r][0]);
      sums[r][1] = hn::MulAdd(factor, right, sums[r][1]);
    }
  }
#pragma GCC unroll 4
  for (index_t r = 0; r < row_group; ++r) {
    hn::Store(sums[r][0], d, c + r * ldc);
    hn::Store(sums[r][1], d, c + r * ldc + lanes);
  }
}

void lower_gram_of(const double* x, index_t depth, index_t n, double* g) {
  const index_t ld = padded_row(n);
  for (index_t j = 0; j < n; j += 2 * lanes) {
    for (index_t i = j / row_group * row_group; i < n; i += row_group) {
      multiply_block(x + i, ld, 1, x + j, ld, depth, g + i * ld + j, ld);
    }
  }
}

void multiply_one_panel(const double* x, index_t depth, index_t n, const double* z, double* w) {
  const index_t ld = padded_row(n);
  for (index_t j = 0; j < vector_panel; j += 2 * lanes) {
    for (index_t i = 0; i < depth; i += row_group) {
      multiply_block(x + i * ld, 1, ld, z + j, vector_panel, n, w + i * vector_panel + j, vector_panel);
    }
  }
}

double dot_of(const double* HWY_RESTRICT a, const double* HWY_RESTRICT b, index_t n) {
  const Doubles d;
  Vector sums[2] = {hn::Zero(d), hn::Zero(d)};
  index_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    sums[0] = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sums[0]);
    sums[1] = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sums[1]);
  }
  double sum = sum_of(hn::Add(sums[0], sums[1]));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void subtract_multiple_of(double factor, const double* HWY_RESTRICT x, double* HWY_RESTRICT y, index_t n) {
  const Doubles d;
  const Vector f = hn::Set(d, factor);
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::NegMulAdd(f, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  for (; i < n; ++i) y[i] -= factor * x[i];
}

/// The rank-2 update B -= v wᵀ + w vᵀ that a step leaves to the next one, which passes over B anyway.
struct Update {
  const double* v;
  const double* w;
};

/// Row m of the triangle and the diagonal up to it, after the update.
void update_row(const Update& update, index_t m, double* HWY_RESTRICT row, double* HWY_RESTRICT diagonal) {
  const Doubles d;
  for (index_t c = 0; c <= m; c += lanes) {
    const Vector change = hn::Mul(hn::Load(d, update.v + c), hn::Load(d, update.w + c));
    hn::Store(hn::Sub(hn::Load(d, diagonal + c), hn::Add(change, change)), d, diagonal + c);
  }
  const Vector v = hn::Set(d, update.v[m]);
  const Vector w = hn::Set(d, update.w[m]);
  for (index_t c = 0; c < m; c += lanes) {
    Vector x = hn::Load(d, row + c);
    x = hn::NegMulAdd(v, hn::Load(d, update.w + c), x);
    x = hn::NegMulAdd(w, hn::Load(d, update.v + c), x);
    hn::Store(hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(m - c)), x), d, row + c);
  }
}

/// Replaces row m (m numbers) by the vector v of the reflection H = I - tau v vᵀ that maps the row to its last place
/// alone, with the number `beta` there. beta gets the sign opposite to the last number's, so that alpha - beta does not
/// cancel (LAPACK's dlarfg); v is scaled so that its last number is 1.
void make_reflector(index_t m, double* HWY_RESTRICT row, double& beta, double& tau) {
  const Doubles d;
  const double alpha = row[m - 1];
  row[m - 1] = 0;
  Vector squares = hn::Zero(d);
  for (index_t c = 0; c < m; c += lanes) {
    const Vector x = hn::Load(d, row + c);
    squares = hn::MulAdd(x, x, squares);
  }
  const double rest = sum_of(squares);
  beta = alpha;
  tau = 0;
  double scale = 0;
  if (rest > 1e-280) {  // numbers below 1e-140 of the tile's are zeros
    beta = -std::copysign(std::sqrt(alpha * alpha + rest), alpha);
    tau = (beta - alpha) / beta;
    scale = 1 / (alpha - beta);
  }
  const Vector factor = hn::Set(d, scale);
  for (index_t c = 0; c < m; c += lanes) hn::Store(hn::Mul(factor, hn::Load(d, row + c)), d, row + c);
  row[m - 1] = 1;
}

/// Rows j … j + R - 1 of the triangle, in the block of `lanes` rows that starts at `block`: applies the update and adds
/// the rows' part of y = B x. B is symmetric and only its strictly lower triangle is stored, so each number b(i, c)
/// counts twice: sums[i] gets b(i, c) x(c), y[c] gets b(i, c) x(i). `sums` is apart from y because a row's own sum is
/// complete at the end of the row alone.
template <index_t R>
HWY_INLINE void pass_rows(double* HWY_RESTRICT rows, index_t ld, index_t block, index_t j, const Update& update,
                          const double* HWY_RESTRICT x, double* HWY_RESTRICT y, double* HWY_RESTRICT sums) {
  const Doubles d;
  Vector vj[R], wj[R], xj[R], sum[R];
#pragma GCC unroll 2
  for (index_t r = 0; r < R; ++r) {
    vj[r] = hn::Set(d, update.v[j + r]);
    wj[r] = hn::Set(d, update.w[j + r]);
    xj[r] = hn::Set(d, x[j + r]);
    sum[r] = hn::Zero(d);
  }
  for (index_t c = 0; c < block; c += lanes) {
    const Vector vc = hn::Load(d, update.v + c);
    const Vector wc = hn::Load(d, update.w + c);
    const Vector xc = hn::Load(d, x + c);
    Vector yc = hn::Load(d, y + c);
#pragma GCC unroll 2
    for (index_t r = 0; r < R; ++r) {
      double* to = rows + (j + r) * ld + c;
      const Vector b = hn::NegMulAdd(wj[r], vc, hn::NegMulAdd(vj[r], wc, hn::Load(d, to)));
      hn::Store(b, d, to);
      sum[r] = hn::MulAdd(b, xc, sum[r]);
      yc = hn::MulAdd(b, xj[r], yc);
    }
    hn::Store(yc, d, y + c);
  }
  const Vector vc = hn::Load(d, update.v + block);
  const Vector wc = hn::Load(d, update.w + block);
  const Vector xc = hn::Load(d, x + block);
  Vector yc = hn::Load(d, y + block);
#pragma GCC unroll 2
  for (index_t r = 0; r < R; ++r) {
    double* to = rows + (j + r) * ld + block;
    const auto below = hn::FirstN(d, static_cast<std::size_t>(j + r - block));
    const Vector b = hn::IfThenElseZero(below, hn::NegMulAdd(wj[r], vc, hn::NegMulAdd(vj[r], wc, hn::Load(d, to))));
    hn::Store(b, d, to);
    sums[j + r] = sum_of(hn::MulAdd(b, xc, sum[r]));
    yc = hn::MulAdd(b, xj[r], yc);
  }
  hn::Store(yc, d, y + block);
}

/// Applies the update to the leading triangle of m rows, and writes y = B x with the updated B.
void pass_triangle(double* g, index_t ld, index_t m, const double* diagonal, const Update& update, const double* x,
                   double* HWY_RESTRICT y, double* HWY_RESTRICT sums) {
  const Doubles d;
  for (index_t c = 0; c < m; c += lanes) hn::Store(hn::Mul(hn::Load(d, diagonal + c), hn::Load(d, x + c)), d, y + c);
  for (index_t block = 0; block < m; block += lanes) {
    const index_t end = std::min(block + lanes, m);
    index_t j = block;
    for (; j + 2 <= end; j += 2) pass_rows<2>(g, ld, block, j, update, x, y, sums);
    if (j < end) pass_rows<1>(g, ld, block, j, update, x, y, sums);
  }
  for (index_t c = 0; c < m; c += lanes) hn::Store(hn::Add(hn::Load(d, y + c), hn::Load(d, sums + c)), d, y + c);
}

/// Replaces y = B x by w = p - (tau / 2 pᵀ x) x with p = tau y: then H B H = B - x wᵀ - w xᵀ for H = I - tau x xᵀ.
void make_update(index_t m, double tau, const double* HWY_RESTRICT x, double* HWY_RESTRICT y) {
  const Doubles d;
  Vector products = hn::Zero(d);
  for (index_t c = 0; c < m; c += lanes) products = hn::MulAdd(hn::Load(d, x + c), hn::Load(d, y + c), products);
  const Vector shift = hn::Set(d, -0.5 * tau * tau * sum_of(products));
  const Vector factor = hn::Set(d, tau);
  for (index_t c = 0; c < m; c += lanes) {
    hn::Store(hn::MulAdd(shift, hn::Load(d, x + c), hn::Mul(factor, hn::Load(d, y + c))), d, y + c);
  }
}

void tridiagonalize_one(double* g, index_t n, double* diagonal, double* e, double* tau, double* work) {
  const index_t ld = padded_row(n);
  std::fill_n(work, 4 * ld, 0.0);
  // Invariant at the start of step m: rows m + 1 … n - 1 hold finished reflectors; the leading m + 1 rows hold B as it
  // was before the last reflection, and B - v wᵀ - w vᵀ with `update` = {v, w} is the matrix that is left to reduce.
  // The diagonal of B is kept in d and not in the rows, so that pass_rows() treats all numbers of a row alike. A step
  // updates its own row first, because the reflector is made of the updated row; pass_triangle() updates the other rows
  // while it multiplies them by the new reflector, so every number of B is read and written once a step.
  double* d = work;  // padded to whole vectors
  double* sums = work + ld;
  double* y = work + 2 * ld;      // of this step
  double* old_y = work + 3 * ld;  // of the step before: its w
  for (index_t j = 0; j < n; ++j) {
    double* row = g + j * ld;
    d[j] = row[j];
    std::fill(row + j, row + rounded_up(j + 1, vector_panel), 0.0);
  }
  Update update{old_y, old_y};  // zeros: no reflection yet
  for (index_t m = n - 1; m > 0; --m) {
    double* row = g + m * ld;
    update_row(update, m, row, d);
    make_reflector(m, row, e[m - 1], tau[m]);
    if (m == 1) break;
    pass_triangle(g, ld, m, d, update, row, y, sums);
    make_update(m, tau[m], row, y);
    update = {row, y};
    std::swap(y, old_y);
  }
  tau[0] = 0;
  std::copy_n(d, n, diagonal);
}

/// Applies H_{m+1} H_m to one chunk of columns: a compact WY block of two reflections (Schreiber and Van Loan 1989),
/// which halves the passes over z. s = vᵀ z for both vectors in one pass, then z -= v₁ w₁ + v₂ w₂ with w₁ = tau₁ s₁ and
/// w₂ = tau₂ (s₂ - v₂ᵀ v₁ w₁): the second product is corrected by what the first reflection changes of z.
template <index_t V>
HWY_INLINE void apply_pair(const double* HWY_RESTRICT v1, const double* HWY_RESTRICT v2, double tau1, double tau2,
                           index_t length, double* HWY_RESTRICT z) {
  const Doubles d;
  const double product = dot_of(v1, v2, length);
  Vector s1[V], s2[V];
#pragma GCC unroll 4
  for (index_t q = 0; q < V; ++q) s1[q] = s2[q] = hn::Zero(d);
  for (index_t c = 0; c < length; ++c) {
    const Vector a = hn::Set(d, v1[c]);
    const Vector b = hn::Set(d, v2[c]);
#pragma GCC unroll 4
    for (index_t q = 0; q < V; ++q) {
      const Vector value = hn::Load(d, z + c * vector_panel + q * lanes);
      s1[q] = hn::MulAdd(a, value, s1[q]);
      s2[q] = hn::MulAdd(b, value, s2[q]);
    }
  }
  const Vector factor1 = hn::Set(d, tau1);
  const Vector factor2 = hn::Set(d, tau2);
  const Vector mixed = hn::Set(d, product);
#pragma GCC unroll 4
  for (index_t q = 0; q < V; ++q) {
    s1[q] = hn::Mul(factor1, s1[q]);
    s2[q] = hn::Mul(factor2, hn::NegMulAdd(mixed, s1[q], s2[q]));
  }
  for (index_t c = 0; c < length; ++c) {
    const Vector a = hn::Set(d, v1[c]);
    const Vector b = hn::Set(d, v2[c]);
#pragma GCC unroll 4
    for (index_t q = 0; q < V; ++q) {
      double* to = z + c * vector_panel + q * lanes;
      hn::Store(hn::NegMulAdd(b, s2[q], hn::NegMulAdd(a, s1[q], hn::Load(d, to))), d, to);
    }
  }
}

void apply_all(const Reflectors& reflectors, index_t n, double* z) {
  constexpr index_t vectors = std::min<index_t>(4, vector_panel / lanes);
  const index_t ld = padded_row(n);
  // Q = H_{n-1} … H_1, so H_1 comes first. The n - 1 reflections are paired from the last one down; for even n that
  // leaves H_1 out, which is the identity: its vector has the length 1, and the rest of its row is zero, so tau_1 = 0.
  for (index_t m = n % 2 == 0 ? 2 : 1; m + 1 < n; m += 2) {
    const double* v1 = reflectors.rows + m * ld;
    for (index_t q = 0; q < vector_panel; q += vectors * lanes) {
      apply_pair<vectors>(v1, v1 + ld, reflectors.tau[m], reflectors.tau[m + 1], m + 1, z + q);
    }
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(lower_gram_of);
HWY_EXPORT(tridiagonalize_one);
HWY_EXPORT(apply_all);
HWY_EXPORT(multiply_one_panel);
HWY_EXPORT(dot_of);
HWY_EXPORT(subtract_multiple_of);

void lower_gram(const double* x, index_t depth, index_t n, double* g) {
  HWY_DYNAMIC_DISPATCH(lower_gram_of)(x, depth, n, g);
}

void tridiagonalize(double* g, index_t n, double* d, double* e, double* tau, double* work) {
  HWY_DYNAMIC_DISPATCH(tridiagonalize_one)(g, n, d, e, tau, work);
}

void apply_reflectors(const Reflectors& reflectors, index_t n, double* z) {
  HWY_DYNAMIC_DISPATCH(apply_all)(reflectors, n, z);
}

void multiply_panel(const double* x, index_t depth, index_t n, const double* z, double* w) {
  HWY_DYNAMIC_DISPATCH(multiply_one_panel)(x, depth, n, z, w);
}

double dot(const double* a, const double* b, index_t n) { return HWY_DYNAMIC_DISPATCH(dot_of)(a, b, n); }

void subtract_multiple(double factor, const double* x, double* y, index_t n) {
  HWY_DYNAMIC_DISPATCH(subtract_multiple_of)(factor, x, y, n);
}

}  // namespace hack::kernels
#endif
