#include "kernels/cpu/factorize/twisted_vectors.hpp"

#include <cmath>

#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/factorize/twisted_vectors.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using Vector = hn::Vec<Doubles>;

constexpr index_t lanes = hn::MaxLanes(Doubles());
constexpr index_t points = vector_panel;
constexpr index_t vectors = points / lanes;
constexpr index_t together = vectors < 4 ? vectors : 4;  // in registers at once
constexpr double least_pivot = 1e-60;

/// Some columns of a panel of eigenvectors, those whose numbers of one row are in registers at once, by twisted
/// factorizations T - lambda = N D Nᵀ (Fernando 1997; Parlett and Dhillon 1997; Dhillon and Parlett 2004, MRRR).
///
/// Elimination from the first row down gives pivots D⁺_i, elimination from the last row up pivots D⁻_i. For every k the
/// two meet in row k with gamma_k = D⁺_k - e_k² / D⁻_{k+1}, and z with z_k = 1 that both eliminations continue solves
/// (T - lambda) z = gamma_k · unit vector k. So the k of the least |gamma_k| gives the smallest residual, without the
/// guess that inverse iteration starts from. All vectors of a panel are of the same T and independent of each other:
/// MRRR's tree of shifted representations is left out, and the residual tells the caller how orthogonal they are.
struct TwistedColumns {
  index_t n;
  const double* diagonals;
  const double* beside;  // (n - 1)
  index_t first;         // column
  double* z;             // (n, points)
  double* multipliers;   // (n, points)
  Vector shift[together];

  HWY_INLINE double* at(double* panel, index_t i, index_t v) const { return panel + i * points + first + v * lanes; }

  /// From the last row up: u_i = e_i / D⁻_{i+1} goes into row i + 1 of z.
  HWY_INLINE void eliminate_upwards() const {
    const Doubles d;
    const Vector tiny = hn::Set(d, least_pivot);
    Vector pivot[together];
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) pivot[v] = hn::Sub(hn::Set(d, diagonals[n - 1]), shift[v]);
    for (index_t i = n - 2; i >= 0; --i) {
      const Vector e = hn::Set(d, beside[i]);
      const Vector diagonal = hn::Set(d, diagonals[i]);
#pragma GCC unroll 4
      for (index_t v = 0; v < together; ++v) {
        const Vector safe = hn::IfThenElse(hn::Lt(hn::Abs(pivot[v]), tiny), tiny, pivot[v]);
        const Vector u = hn::Div(e, safe);
        hn::Store(u, d, at(z, i + 1, v));
        pivot[v] = hn::NegMulAdd(e, u, hn::Sub(diagonal, shift[v]));
      }
    }
  }

  /// From the first row down: l_i = e_i / D⁺_i into row i of the multipliers, and the twist k of the least
  /// |gamma_k| = |D⁺_k - e_k u_k|, which is known as soon as D⁺_k is.
  HWY_INLINE void eliminate_downwards(Vector (&twist)[together]) const {
    const Doubles d;
    const Vector tiny = hn::Set(d, least_pivot);
    Vector pivot[together], least[together];
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) {
      pivot[v] = hn::Sub(hn::Set(d, diagonals[0]), shift[v]);
      least[v] = hn::Set(d, 1e300);
      twist[v] = hn::Zero(d);
    }
    for (index_t i = 0; i < n; ++i) {
      const bool is_last = i == n - 1;
      const Vector e = hn::Set(d, is_last ? 0.0 : beside[i]);
      const Vector diagonal = hn::Set(d, is_last ? 0.0 : diagonals[i + 1]);
      const Vector row = hn::Set(d, static_cast<double>(i));
#pragma GCC unroll 4
      for (index_t v = 0; v < together; ++v) {
        const Vector u = is_last ? hn::Zero(d) : hn::Load(d, at(z, i + 1, v));
        const Vector gamma = hn::Abs(hn::NegMulAdd(e, u, pivot[v]));
        const auto is_less = hn::Lt(gamma, least[v]);
        least[v] = hn::IfThenElse(is_less, gamma, least[v]);
        twist[v] = hn::IfThenElse(is_less, row, twist[v]);
        const Vector safe = hn::IfThenElse(hn::Lt(hn::Abs(pivot[v]), tiny), tiny, pivot[v]);
        const Vector l = hn::Div(e, safe);
        hn::Store(l, d, at(multipliers, i, v));
        pivot[v] = hn::NegMulAdd(e, l, hn::Sub(diagonal, shift[v]));
      }
    }
  }

  /// z_k = 1, z_i = -l_i z_{i+1} above the twist, z_{i+1} = -u_i z_i below it: only products, so nothing cancels. The
  /// part above is made in the multipliers' place, because z still holds u. Adds up squares of z.
  HWY_INLINE void solve(const Vector (&twist)[together], Vector (&squares)[together]) const {
    const Doubles d;
    const Vector one = hn::Set(d, 1.0);
    Vector value[together];
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) value[v] = squares[v] = hn::Zero(d);
    for (index_t i = n - 1; i >= 0; --i) {
      const Vector row = hn::Set(d, static_cast<double>(i));
#pragma GCC unroll 4
      for (index_t v = 0; v < together; ++v) {
        const Vector next = hn::Neg(hn::Mul(hn::Load(d, at(multipliers, i, v)), value[v]));
        value[v] = hn::IfThenElse(hn::Eq(row, twist[v]), one, hn::IfThenElseZero(hn::Lt(row, twist[v]), next));
        hn::Store(value[v], d, at(multipliers, i, v));
      }
    }
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) value[v] = hn::Zero(d);
    for (index_t i = 0; i < n; ++i) {
      const Vector row = hn::Set(d, static_cast<double>(i));
#pragma GCC unroll 4
      for (index_t v = 0; v < together; ++v) {
        const Vector next = i == 0 ? hn::Zero(d) : hn::Neg(hn::Mul(hn::Load(d, at(z, i, v)), value[v]));
        const Vector above = hn::Load(d, at(multipliers, i, v));
        const auto is_below = hn::Gt(row, twist[v]);
        value[v] = hn::IfThenElse(is_below, next, hn::IfThenElseZero(hn::Eq(row, twist[v]), one));
        const Vector out = hn::IfThenElse(is_below, next, above);
        squares[v] = hn::MulAdd(out, out, squares[v]);
        hn::Store(out, d, at(z, i, v));
      }
    }
  }

  /// Brings z to unit length; residual = ‖T z - lambda z‖² of each lane's vector, measured and not taken from gamma.
  HWY_INLINE void normalize(const Vector (&squares)[together], Vector (&residual)[together]) const {
    const Doubles d;
    const Vector one = hn::Set(d, 1.0);
    Vector scale[together], here[together], above[together];
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) {
      scale[v] = hn::Div(one, hn::Sqrt(squares[v]));
      above[v] = residual[v] = hn::Zero(d);
      here[v] = hn::Mul(scale[v], hn::Load(d, at(z, 0, v)));
    }
    for (index_t i = 0; i < n; ++i) {
      const bool is_last = i == n - 1;
      const Vector diagonal = hn::Set(d, diagonals[i]);
      const Vector e = hn::Set(d, is_last ? 0.0 : beside[i]);
      const Vector e_above = hn::Set(d, i == 0 ? 0.0 : beside[i - 1]);
#pragma GCC unroll 4
      for (index_t v = 0; v < together; ++v) {
        const Vector next = is_last ? hn::Zero(d) : hn::Mul(scale[v], hn::Load(d, at(z, i + 1, v)));
        Vector sum = hn::Mul(hn::Sub(diagonal, shift[v]), here[v]);
        sum = hn::MulAdd(e, next, hn::MulAdd(e_above, above[v], sum));
        residual[v] = hn::MulAdd(sum, sum, residual[v]);
        hn::Store(here[v], d, at(z, i, v));
        above[v] = here[v];
        here[v] = next;
      }
    }
  }
};

double vectors_of_panel(index_t n, const double* diagonals, const double* beside, const double* lambda, double* z,
                        double* multipliers) {
  const Doubles d;
  Vector all = hn::Zero(d);
  for (index_t first = 0; first < points; first += together * lanes) {
    TwistedColumns columns{n, diagonals, beside, first, z, multipliers, {}};
#pragma GCC unroll 4
    for (index_t v = 0; v < together; ++v) columns.shift[v] = hn::Load(d, lambda + first + v * lanes);
    Vector twist[together], squares[together], residual[together];
    columns.eliminate_upwards();
    columns.eliminate_downwards(twist);
    columns.solve(twist, squares);
    columns.normalize(squares, residual);
    for (index_t v = 0; v < together; ++v) all = hn::Add(all, residual[v]);
  }
  return std::sqrt(hn::GetLane(hn::SumOfLanes(d, all)));
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(vectors_of_panel);

double twisted_vectors(index_t n, const double* d, const double* e, const double* lambda, double* z,
                       double* multipliers) {
  return HWY_DYNAMIC_DISPATCH(vectors_of_panel)(n, d, e, lambda, z, multipliers);
}

}  // namespace hack::kernels
#endif
