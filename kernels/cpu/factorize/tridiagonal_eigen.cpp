#include "kernels/cpu/factorize/tridiagonal_eigen.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/factorize/twisted_vectors.hpp"
#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/factorize/tridiagonal_eigen.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using Words = hn::RebindToUnsigned<Doubles>;
using Vector = hn::Vec<Doubles>;
using Counts = hn::Vec<Words>;

constexpr index_t lanes = hn::MaxLanes(Doubles());
constexpr index_t points = vector_panel;                 // evaluated at once
constexpr index_t vectors = points / lanes;              // of them
constexpr index_t together = vectors < 4 ? vectors : 4;  // in registers at once
constexpr index_t rescale_every = 8;

/// A power of two that brings max(|a|, |b|) to about 1.
HWY_INLINE Vector scale_of(Vector a, Vector b) {
  const Words words;
  const Counts exponent =
      hn::And(hn::BitCast(words, hn::Max(hn::Abs(a), hn::Abs(b))), hn::Set(words, 0x7ff0000000000000ull));
  return hn::BitCast(Doubles(), hn::Sub(hn::Set(words, 2046ull << 52), exponent));
}

HWY_INLINE Counts sign_change(Vector a, Vector b) {
  const Words words;
  return hn::ShiftRight<63>(hn::BitCast(words, hn::Xor(a, b)));
}

/// below[i] = number of eigenvalues under x[i]: by Sylvester's law of inertia the number of sign changes of the leading
/// minors p_i = (d_i - x) p_{i-1} - e_{i-1}² p_{i-2} of T - x (Sturm sequence; Givens 1954). The recurrence of minors
/// has no division, unlike that of their quotients, but it leaves the range of double: every few rows two neighbours
/// are brought to about 1 by a common power of two, which changes no sign.
void count_below(index_t n, const double* diagonals, const double* squares, const double* x, double* below) {
  const Doubles d;
  const Words words;
  for (index_t first = 0; first < points; first += together * lanes) {
    Vector shift[together], p[together], before[together];
    Counts count[together];
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) {
      shift[v] = hn::Load(d, x + first + v * lanes);
      p[v] = hn::Set(d, 1.0);
      before[v] = hn::Zero(d);
      count[v] = hn::Zero(words);
    }
    for (index_t start = 0; start < n; start += rescale_every) {
      const index_t end = std::min(start + rescale_every, n);
      for (index_t i = start; i < end; ++i) {
        const Vector diagonal = hn::Set(d, diagonals[i]);
        const Vector square = hn::Set(d, squares[i]);
#pragma GCC unroll 4
        for (index_t v = 0; v < together; ++v) {
          const Vector next = hn::MulSub(hn::Sub(diagonal, shift[v]), p[v], hn::Mul(square, before[v]));
          count[v] = hn::Add(count[v], sign_change(next, p[v]));
          before[v] = p[v];
          p[v] = next;
        }
      }
#pragma GCC unroll 4
      for (index_t v = 0; v < together; ++v) {
        const Vector scale = scale_of(p[v], before[v]);
        p[v] = hn::Mul(p[v], scale);
        before[v] = hn::Mul(before[v], scale);
      }
    }
    HWY_ALIGN std::uint64_t counts[lanes];
    for (index_t v = 0; v < together; ++v) {
      hn::Store(count[v], words, counts);
      for (index_t l = 0; l < lanes; ++l) below[first + v * lanes + l] = static_cast<double>(counts[l]);
    }
  }
}

constexpr index_t pair = together < 2 ? together : 2;  // vectors of points whose derivatives fit the registers

/// The last leading minor p of T - x at a few points x, its first derivative, half its second, and the sign changes of
/// the minors.
struct Minors {
  Vector p[pair], p1[pair], p2[pair];
  Counts count[pair];
};

/// The three-term recurrence of count_below(), differentiated twice. All six numbers of a point get the same scale:
/// p' / p and p'' / p, which are all that is used, do not feel it.
HWY_INLINE Minors evaluate_minors(index_t n, const double* diagonals, const double* squares, const double* x) {
  const Doubles d;
  const Words words;
  Vector shift[pair], q[pair], q1[pair], q2[pair];  // of the minor before
  Minors m;
#pragma GCC unroll 2
  for (index_t v = 0; v < pair; ++v) {
    shift[v] = hn::Load(d, x + v * lanes);
    m.p[v] = hn::Set(d, 1.0);
    m.p1[v] = m.p2[v] = q[v] = q1[v] = q2[v] = hn::Zero(d);
    m.count[v] = hn::Zero(words);
  }
  for (index_t start = 0; start < n; start += rescale_every) {
    const index_t end = std::min(start + rescale_every, n);
    for (index_t i = start; i < end; ++i) {
      const Vector diagonal = hn::Set(d, diagonals[i]);
      const Vector square = hn::Set(d, squares[i]);
#pragma GCC unroll 2
      for (index_t v = 0; v < pair; ++v) {
        const Vector factor = hn::Sub(diagonal, shift[v]);
        const Vector next = hn::MulSub(factor, m.p[v], hn::Mul(square, q[v]));
        const Vector next1 = hn::NegMulAdd(square, q1[v], hn::MulSub(factor, m.p1[v], m.p[v]));
        const Vector next2 = hn::NegMulAdd(square, q2[v], hn::MulSub(factor, m.p2[v], m.p1[v]));
        m.count[v] = hn::Add(m.count[v], sign_change(next, m.p[v]));
        q[v] = m.p[v];
        q1[v] = m.p1[v];
        q2[v] = m.p2[v];
        m.p[v] = next;
        m.p1[v] = next1;
        m.p2[v] = next2;
      }
    }
#pragma GCC unroll 2
    for (index_t v = 0; v < pair; ++v) {
      const Vector scale = scale_of(m.p[v], q[v]);
      m.p[v] = hn::Mul(m.p[v], scale);
      m.p1[v] = hn::Mul(m.p1[v], scale);
      m.p2[v] = hn::Mul(m.p2[v], scale);
      q[v] = hn::Mul(q[v], scale);
      q1[v] = hn::Mul(q1[v], scale);
      q2[v] = hn::Mul(q2[v], scale);
    }
  }
  return m;
}

/// count_below(), and Laguerre's steps from x to the next root of the last minor on either side:
/// n / (±√((n - 1) (n H - G²)) - G), G = p' / p, H = G² - p'' / p.
///
/// All roots of the characteristic polynomial are real, for which Laguerre's iteration is monotonic: a step never
/// passes the root that it goes to, and it converges cubically near a simple root (Parlett 1964; Li and Zeng 1994, "The
/// Laguerre iteration in solving the symmetric tridiagonal eigenproblem, revisited").
void laguerre_steps(index_t n, const double* diagonals, const double* squares, const double* x, double* below,
                    double* left, double* right) {
  const Doubles d;
  const Words words;
  HWY_ALIGN std::uint64_t counts[lanes];
  const Vector degree = hn::Set(d, static_cast<double>(n));
  const Vector rest = hn::Set(d, static_cast<double>(n - 1));
  for (index_t first = 0; first < points; first += pair * lanes) {
    const Minors m = evaluate_minors(n, diagonals, squares, x + first);
    for (index_t v = 0; v < pair; ++v) {
      const index_t at = first + v * lanes;
      hn::Store(m.count[v], words, counts);
      for (index_t l = 0; l < lanes; ++l) below[at + l] = static_cast<double>(counts[l]);
      const Vector slope = hn::Div(m.p1[v], m.p[v]);
      const Vector curve = hn::Div(hn::Add(m.p2[v], m.p2[v]), m.p[v]);
      const Vector square = hn::Mul(slope, slope);
      const Vector inside = hn::Mul(rest, hn::MulSub(degree, hn::Sub(square, curve), square));
      const Vector root = hn::Sqrt(hn::Max(inside, hn::Zero(d)));
      hn::Store(hn::Div(degree, hn::Sub(root, slope)), d, right + at);
      hn::Store(hn::Div(degree, hn::Sub(hn::Neg(root), slope)), d, left + at);
    }
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {
namespace {

constexpr index_t points = vector_panel;
constexpr index_t grid_size = 8 * points;
constexpr double least_square = 1e-34;   // its root is below the rounding of a norm of 1: no minor is 0 twice in turn
constexpr double resolution = 0x1p-48;   // 16 roundings of a norm of 1
constexpr double below_zero = -0x1p-40;  // less than rounding makes of an eigenvalue 0
constexpr int max_rounds = 100;

HWY_EXPORT(count_below);
HWY_EXPORT(laguerre_steps);

/// The largest row sum of magnitudes: by Gershgorin's theorem no eigenvalue is above it. The diagonal is not negative.
double row_bound(index_t n, const double* d, const double* e) {
  double bound = 0;
  for (index_t i = 0; i < n; ++i) {
    const double left = i > 0 ? std::fabs(e[i - 1]) : 0;
    const double right = i + 1 < n ? std::fabs(e[i]) : 0;
    bound = std::max(bound, d[i] + left + right);
  }
  return bound;
}

}  // namespace

TridiagonalEigen::TridiagonalEigen(index_t max_n)
    : square_(max_n),
      grid_(grid_size),
      below_(grid_size),
      steps_(2 * points),
      multipliers_(max_n * points),
      brackets_(max_n),
      pending_(max_n + points),
      is_done_(max_n) {}

/// Counts on a grid that is even in √x, as singular values of random matrices are about evenly spread; false where T
/// has an eigenvalue outside [0, bound], which the contract excludes.
bool TridiagonalEigen::find_brackets(const Matrix& t, double bound) {
  double* x = grid_.data();
  for (index_t p = 0; p < grid_size; ++p) {
    const double share = static_cast<double>(p) / static_cast<double>(grid_size - 1);
    x[p] = p == 0 ? below_zero : bound * share * share;
  }
  x[grid_size - 1] = bound * (1 + 0x1p-40) + 0x1p-40;
  for (index_t p = 0; p < grid_size; p += points) {
    HWY_DYNAMIC_DISPATCH(count_below)(t.n, t.d, t.square, x + p, below_.data() + p);
  }
  const double* below = below_.data();
  if (below[0] != 0 || below[grid_size - 1] != static_cast<double>(t.n)) return false;
  index_t p = 0;
  for (index_t i = 0; i < t.n; ++i) {
    while (p + 2 < grid_size && below[p + 1] <= static_cast<double>(i)) ++p;
    Bracket& bracket = brackets_.data()[i];
    bracket = {x[p], x[p + 1], below[p], below[p + 1], 0};
    bracket.bisect();
  }
  return true;
}

/// One step for all pending eigenvalues that have a bracket of their own, or for all that do not.
///
/// Invariant: bracket i has low <= lambda_i <= high with the counts of both ends, lambda_i ascending, so that
/// below_low <= i < below_high. Every evaluation moves one end of the bracket to x, whatever step led there; a step of
/// Laguerre is taken only where it stays inside the bracket, and the middle elsewhere. So no round loses an eigenvalue.
void TridiagonalEigen::run_round(const Matrix& t, bool isolated) {
  index_t count = 0;
  index_t* pending = pending_.data();
  for (index_t i = 0; i < t.n; ++i) {
    const Bracket& b = brackets_.data()[i];
    if (is_done_.data()[i] == 0 && (b.below_high - b.below_low == 1) == isolated) pending[count++] = i;
  }
  double* x = grid_.data();
  double* below = below_.data();
  double* left = steps_.data();
  double* right = left + points;
  for (index_t first = 0; first < count; first += points) {
    const index_t size = std::min(points, count - first);
    for (index_t p = 0; p < points; ++p) x[p] = brackets_.data()[pending[first + std::min(p, size - 1)]].x;
    if (isolated) {
      HWY_DYNAMIC_DISPATCH(laguerre_steps)(t.n, t.d, t.square, x, below, left, right);
    } else {
      HWY_DYNAMIC_DISPATCH(count_below)(t.n, t.d, t.square, x, below);
    }
    for (index_t p = 0; p < size; ++p) {
      const index_t i = pending[first + p];
      Bracket& b = brackets_.data()[i];
      const bool is_above = below[p] <= static_cast<double>(i);
      (is_above ? b.low : b.high) = x[p];
      (is_above ? b.below_low : b.below_high) = below[p];
      b.bisect();
      is_done_.data()[i] = b.high - b.low <= resolution;
      if (!isolated || is_done_.data()[i] != 0) continue;
      const double next = x[p] + (is_above ? right[p] : left[p]);
      const bool is_found = std::fabs(next - x[p]) <= resolution;
      if (is_found || (next > b.low && next < b.high)) b.x = next;
      is_done_.data()[i] = is_found;
    }
  }
}

bool TridiagonalEigen::find_values(index_t n, const double* d, const double* e, double* lambda) {
  double* square = square_.data();
  square[0] = 0;
  for (index_t i = 1; i < n; ++i) square[i] = std::max(e[i - 1] * e[i - 1], least_square);
  const Matrix t{n, d, square};
  if (!find_brackets(t, row_bound(n, d, e))) return false;
  std::fill_n(is_done_.data(), n, std::uint8_t{0});
  const auto all_done = [&] { return std::find(is_done_.data(), is_done_.data() + n, 0) == is_done_.data() + n; };
  for (int round = 0; !all_done(); ++round) {
    if (round == max_rounds) return false;
    run_round(t, false);
    run_round(t, true);
  }
  // The brackets hold each eigenvalue by its count; the trace, which no count has been part of, checks all together.
  double trace = 0, sum = 0;
  for (index_t i = 0; i < n; ++i) {
    lambda[i] = brackets_.data()[i].x;
    sum += lambda[i];
    trace += d[i];
  }
  std::sort(lambda, lambda + n, [](double a, double b) { return a > b; });
  return std::fabs(sum - trace) <= 2 * resolution * static_cast<double>(n);
}

double TridiagonalEigen::find_vectors(index_t n, const double* d, const double* e, const double* lambda, double* z) {
  return twisted_vectors(n, d, e, lambda, z, multipliers_.data());
}

}  // namespace hack::kernels
#endif
