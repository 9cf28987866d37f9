#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// Some rows of a block of a batch.
template <class From, class To>
struct RowShare {
  static constexpr index_t most_rows = 32;
  Array<const From> from;
  Array<To> to;
};

/// to = alpha from + beta to: a block of threads per share.
template <class From, class To>
struct Combine {
  static constexpr const char* name = "Combine";
  static constexpr int max_threads = 256;
  const RowShare<From, To>* shares = nullptr;
  index_t count = 0;
  double alpha = 1, beta = 0;

  Geometry geometry() const { return {count, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const RowShare<From, To> share = shares[exec.block()];
    for (index_t n = exec.thread(); n < share.to.rows * share.to.cols; n += max_threads) {
      const index_t i = n / share.to.cols, j = n % share.to.cols;
      To& to = share.to.row(i)[j];
      const double sum = alpha * static_cast<double>(share.from.row(i)[j]);
      to = static_cast<To>(beta == 0 ? sum : sum + beta * static_cast<double>(to));
    }
  }
};

/// A whole block of a batch, rounded after scaling by a power of two: a block of threads per block.
struct RoundScaled {
  static constexpr const char* name = "RoundScaled";
  static constexpr int max_threads = 256;
  static constexpr float of_zeros = -1e5f, of_infinity = 1e5f;  // beyond all exponents
  const RowShare<double, float>* blocks = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, 32}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const RowShare<double, float> block = blocks[exec.block()];
    const index_t numbers = block.to.rows * block.to.cols;
    float exponent = of_zeros;
    for (index_t n = exec.thread(); n < numbers; n += max_threads) {
      const double size = fabs(block.from.row(n / block.to.cols)[n % block.to.cols]);
      if (!(size > 0)) continue;  // of NaN, too
      exponent = fmaxf(exponent, size - size == 0 ? static_cast<float>(ilogb(size)) : of_infinity);
    }
    exponent = block_max(exec, exponent, 0);
    const bool has_scale = exponent > of_zeros && exponent < of_infinity;
    const double scale = has_scale ? ldexp(1.0, -static_cast<int>(exponent)) : 1.0;
    for (index_t n = exec.thread(); n < numbers; n += max_threads) {
      const index_t i = n / block.to.cols, j = n % block.to.cols;
      block.to.row(i)[j] = static_cast<float>(block.from.row(i)[j] * scale);
    }
  }
};

/// Adds relative · (mean of the diagonal) to the diagonal: a warp per matrix.
struct Damp {
  static constexpr const char* name = "Damp";
  static constexpr int max_threads = 32;
  const Array<double>* matrices = nullptr;
  index_t count = 0;
  double relative = 0;

  Geometry geometry() const { return {count, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const Array<double> a = matrices[exec.block()];
    double sum = 0;
    for (index_t i = exec.thread(); i < a.rows; i += max_threads) sum += a.row(i)[i];
    sum = exec.group_sum(sum, 32);
    const double damping = relative * (sum / static_cast<double>(a.rows));
    for (index_t i = exec.thread(); i < a.rows; i += max_threads) a.row(i)[i] += damping;
  }
};

/// sums[i] = Σ_j a(i, j) b(i, j): a warp per row.
struct RowProducts {
  static constexpr const char* name = "RowProducts";
  static constexpr int max_threads = 32;
  Array<const double> a;
  Array<const double> b;
  double* sums = nullptr;

  Geometry geometry() const { return {a.rows, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const double *left = a.row(exec.block()), *right = b.row(exec.block());
    double sum = 0;
    for (index_t j = exec.thread(); j < a.cols; j += max_threads) sum += left[j] * right[j];
    sum = exec.group_sum(sum, 32);
    if (exec.thread() == 0) sums[exec.block()] = sum;
  }
};

/// The factors of one tile, and working memory for T of right = T Q.
struct OrthonormalJob {
  Array<double> left;    // (h, k)
  Array<double> right;   // (k, w)
  double* triangle;      // (k, k)
  double* coefficients;  // (k)
};

/// Makes the rows of right factors orthonormal by classical Gram-Schmidt with every step done twice, which is enough
/// for full precision (Giraud, Langou, Rozložník 2005), and multiplies the left factors by T. Classical steps take all
/// products of a row at once, modified ones would be a chain of barriers. A block of threads per tile.
struct OrthonormalizeRows {
  static constexpr const char* name = "OrthonormalizeRows";
  static constexpr int max_threads = 256;
  static constexpr double dependent = 1e-13;  ///< a row of which a smaller share is left holds nothing but rounding
  const OrthonormalJob* jobs = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const OrthonormalJob job = jobs[exec.block()];
    const index_t k = job.right.rows;
    for (index_t p = 0; p < k; ++p) {
      const double norm_before = sqrt(dot(exec, job, p, p));
      for (int pass = 0; pass < 2; ++pass) project(exec, job, p, pass);
      const double norm = sqrt(dot(exec, job, p, p));
      const bool is_left = norm > dependent * norm_before;
      exec.sync();  // every thread has the norm before a row is overwritten
      for (index_t c = exec.thread(); c < job.right.cols; c += max_threads) {
        job.right.row(p)[c] = is_left ? job.right.row(p)[c] / norm : 0.0;
      }
      if (exec.thread() == 0) job.triangle[p * k + p] = is_left ? norm : 0.0;
      exec.sync();
    }
    // left T in place: T is lower triangular, so column c needs columns from c on alone, and c ascends.
    for (index_t i = exec.thread(); i < job.left.rows; i += max_threads) {
      double* row = job.left.row(i);
      for (index_t c = 0; c < k; ++c) {
        double sum = 0;
        for (index_t r = c; r < k; ++r) sum += row[r] * job.triangle[r * k + c];
        row[c] = sum;
      }
    }
  }

 private:
  /// The product of two rows, the same bits in every warp.
  template <class Exec>
  HACK_BODY static double dot(Exec& exec, const OrthonormalJob& job, index_t p, index_t q) {
    const double *a = job.right.row(p), *b = job.right.row(q);
    double sum = 0;
    for (index_t c = exec.lane(); c < job.right.cols; c += 32) sum += a[c] * b[c];
    return exec.group_sum(sum, 32);
  }

  /// Takes rows 0 … p - 1 out of row p.
  template <class Exec>
  HACK_BODY static void project(Exec& exec, const OrthonormalJob& job, index_t p, int pass) {
    const index_t k = job.right.rows;
    for (index_t q = exec.warp(); q < p; q += max_threads / 32) {
      const double product = dot(exec, job, p, q);
      if (exec.lane() != 0) continue;
      job.coefficients[q] = product;
      double& of_triangle = job.triangle[p * k + q];
      of_triangle = pass == 0 ? product : of_triangle + product;
    }
    exec.sync();
    for (index_t c = exec.thread(); c < job.right.cols; c += max_threads) {
      double sum = 0;
      for (index_t q = 0; q < p; ++q) sum += job.coefficients[q] * job.right.row(q)[c];
      job.right.row(p)[c] -= sum;
    }
    exec.sync();
  }
};

}  // namespace hack::kernels::cuda

#define HACK_BATCHED_ALGEBRA_KERNELS(X) \
  X(Combine<float, double>)             \
  X(Combine<double, float>)             \
  X(Combine<double, double>)            \
  X(RoundScaled)                        \
  X(Damp)                               \
  X(RowProducts)                        \
  X(OrthonormalizeRows)
