#pragma once

#include "kernels/cpu/factorize/symmetric_reduction.hpp"

namespace hack::kernels {

/// Writes one panel z (n, vector_panel) of unit eigenvectors of the symmetric tridiagonal matrix T with the diagonal d
/// (n) and e (n - 1) beside the diagonal, of its eigenvalues lambda (vector_panel), by twisted factorizations (Fernando
/// 1997; Dhillon and Parlett 2004). `multipliers` (n, vector_panel) is working memory; z and it are aligned to 64
/// bytes. Returns √Σ ‖T z - lambda z‖² over the vectors of the panel.
double twisted_vectors(index_t n, const double* d, const double* e, const double* lambda, double* z,
                       double* multipliers);

}  // namespace hack::kernels
