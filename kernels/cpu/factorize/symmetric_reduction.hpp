#pragma once

#include "kernels/dtype.hpp"

namespace hack::kernels {

/// Dense steps of a symmetric eigenproblem of one tile on the calling thread, in double: Gram matrix, Householder's
/// reduction to tridiagonal form, and the transformation of vectors back. All memory is the caller's and aligned to 64
/// bytes; the order of every sum depends on the sizes alone.

/// Numbers from one row of a working matrix of n columns to the next: whole cache lines, and an odd number of them, so
/// that rows do not share a set of the cache. At least n rounded up to 16.
constexpr index_t padded_row(index_t n) { return ((n + 15) / 16 * 2 + 1) * 8; }

/// Vectors that are worked on side by side: a panel (n, vector_panel) of them fits L1 for n = 128.
constexpr index_t vector_panel = 16;

/// Rows that products read and write at once: working matrices have a multiple of it, the last ones zero.
constexpr index_t row_group = 4;

/// Lower triangle of G = Xᵀ X; x (depth, n) and g (n, n) with padded_row(n), columns of x from n up to the next 16
/// zero, rows of g up to the next row_group. Above the diagonal g holds nothing of use.
void lower_gram(const double* x, index_t depth, index_t n, double* g);

/// Householder vectors v_m and factors tau_m of Q = H_{n-1} … H_1, H_m = I - tau_m v_m v_mᵀ, with G = Q T Qᵀ; v_m has m
/// numbers, the last is 1.
struct Reflectors {
  const double* rows = nullptr;  // (n, n) v_m in the first m columns of row m, zero up to the next 16; padded_row(n)
  const double* tau = nullptr;   // (n)
};

/// Reduces G to tridiagonal form by Householder reflections, from the last row to the first (LAPACK's dsytd2, 'U'): T
/// has the diagonal d (n) and e (n - 1) beside the diagonal. Overwrites the lower triangle of g, as lower_gram makes
/// it, by the rows of Reflectors; `work` holds 4 padded_row(n) numbers. Each step passes over the triangle once: the
/// rank-2 update of the step before and the product with the vector of the present step are one loop (Van Zee, van de
/// Geijn, Quintana-Ortí, Elizondo 2012, "Families of algorithms for reducing a matrix to condensed form").
void tridiagonalize(double* g, index_t n, double* d, double* e, double* tau, double* work);

/// Z = Q Z for one panel z (n, vector_panel), two reflections a pass over z.
void apply_reflectors(const Reflectors& reflectors, index_t n, double* z);

/// W = X Z for one panel; x (depth, n) with padded_row(n), z (n, vector_panel), w (depth, vector_panel), rows of x and
/// w up to the next row_group.
void multiply_panel(const double* x, index_t depth, index_t n, const double* z, double* w);

/// Σ a_i b_i.
double dot(const double* a, const double* b, index_t n);
/// y -= factor * x.
void subtract_multiple(double factor, const double* x, double* y, index_t n);

}  // namespace hack::kernels
