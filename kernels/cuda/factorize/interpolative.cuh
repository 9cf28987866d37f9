#pragma once

#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// An InterpolativeTile on the device.
struct InterpolationJob {
  Array<const float> u;
  const float* sigma = nullptr;
  Array<const float> vt;
  std::uint8_t* marks = nullptr;
  Array<float> skeleton;
  Array<float> coefficients;
  double* space = nullptr;  // (h, k)
};

struct InterpolationResult {
  float growth = 0;
  bool is_finite = true;
};

/// Row interpolative decompositions of tiles, a block of threads per tile; kernels/interpolative.hpp names the papers.
///
/// Gauss-Jordan elimination by columns with complete pivoting, in double. Invariant: after row a has been the pivot of
/// column b, row a would be the unit vector b, which is not written, and every other row holds its coefficients in the
/// pivot rows (columns with a pivot) and the rest of U that is not eliminated (columns without). When every column has
/// a pivot, the pivots are the skeleton rows and the other rows are C. An exchange is one more elimination on a number
/// of C: the old pivot is written out as the unit vector it is, and the row with the too large coefficient takes its
/// place. Ties go to the first row, then the first column, so that the bits do not depend on the number of threads.
struct InterpolateTiles {
  static constexpr const char* name = "InterpolateTiles";
  static constexpr int max_threads = 256;
  static constexpr int warps = max_threads / 32;
  static constexpr int side = 256;  // largest height of a tile
  const InterpolationJob* jobs = nullptr;
  index_t count = 0;
  float largest_coefficient = 2;
  InterpolationResult* results = nullptr;

  // In shared memory: scratch, the column of each row that is a pivot (-1: no pivot), the number of pivots above each
  // row, the pivot row of each column.
  static constexpr int columns_at = 64, above_at = columns_at + side, rows_at = above_at + side + 1;

  Geometry geometry() const { return {count, max_threads, rows_at + side}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const InterpolationJob job = jobs[exec.block()];
    const int h = static_cast<int>(job.u.rows), k = static_cast<int>(job.u.cols);
    const auto columns = exec.template shared<int>(columns_at);
    const auto rows = exec.template shared<int>(rows_at);
    for (int i = exec.thread(); i < h; i += max_threads) columns[i] = -1;
    for (int b = exec.thread(); b < k; b += max_threads) rows[b] = -1;
    float finite = widen(exec, job, h, k);
    finite = -block_max(exec, -finite, 0);
    exec.sync();
    if (finite != 1) {
      if (exec.thread() == 0) results[exec.block()] = {0, false};
      return;
    }
    eliminate(exec, job, h, k);
    bound(exec, job, h, k);
    count_above(exec, h);
    float growth = 0;
    finite = write_coefficients(exec, job, h, k, growth);
    finite = fminf(finite, write_skeleton(exec, job, h, k));
    exec.sync();
    finite = -block_max(exec, -finite, 0);
    growth = block_max(exec, growth, 32);
    if (exec.thread() == 0) results[exec.block()] = {growth, finite == 1};
  }

 private:
  static constexpr float largest_float = 3.402823466e38f;

  /// Copies U to double; returns 1 where this thread's numbers are finite, else 0.
  template <class Exec>
  HACK_BODY static float widen(Exec& exec, const InterpolationJob& job, int h, int k) {
    float finite = 1;
    for (int n = exec.thread(); n < h * k; n += max_threads) {
      const float x = job.u.row(n / k)[n % k];
      job.space[n] = x;
      if (!(fabsf(x) <= largest_float)) finite = 0;
    }
    return finite;
  }

  /// Finds the largest magnitude and its place in (h, k), among rows that are no pivots and, with `open`, columns
  /// without a pivot.
  template <class Exec>
  HACK_BODY static void find_largest(Exec& exec, const InterpolationJob& job, int h, int k, bool open, float& value,
                                     int& at) {
    const auto columns = exec.template shared<int>(columns_at);
    const auto rows = exec.template shared<int>(rows_at);
    value = -1;
    at = 0;
    for (int i = exec.warp(); i < h; i += warps) {
      if (columns[i] >= 0) continue;
      for (int l = exec.lane(); l < k; l += 32) {
        if (open && rows[l] >= 0) continue;
        const auto x = static_cast<float>(fabs(job.space[i * k + l]));
        if (x > value) {
          value = x;
          at = i * k + l;
        }
      }
    }
    exec.sync();  // the scratch has been read
    block_largest(exec, value, at, 0);
    exec.sync();  // rows and columns have been read
  }

  /// Makes row a the pivot of column b.
  template <class Exec>
  HACK_BODY static void pivot_on(Exec& exec, const InterpolationJob& job, int h, int k, int a, int b) {
    const auto columns = exec.template shared<int>(columns_at);
    const auto rows = exec.template shared<int>(rows_at);
    const double* pivot = job.space + a * k;
    const double inverse = 1 / pivot[b];
    for (int i = exec.warp(); i < h; i += warps) {
      if (i == a || columns[i] >= 0) continue;
      double* row = job.space + i * k;
      const double factor = row[b] * inverse;
      exec.sync_warp();  // all lanes have row[b]
      for (int l = exec.lane(); l < k; l += 32) row[l] = l == b ? factor : row[l] - factor * pivot[l];
    }
    if (exec.thread() == 0) {  // nothing above reads these two
      columns[a] = b;
      rows[b] = a;
    }
    exec.sync();
  }

  template <class Exec>
  HACK_BODY static void eliminate(Exec& exec, const InterpolationJob& job, int h, int k) {
    double negligible = 0;
    for (int s = 0; s < k; ++s) {
      float value;
      int at;
      find_largest(exec, job, h, k, true, value, at);
      if (s == 0) negligible = h * 2.220446049250313e-16 * value;
      if (!(value > negligible)) return fill_up(exec, job, h, k);
      pivot_on(exec, job, h, k, at / k, at % k);
    }
  }

  /// Columns that depend on others need no pivot, but C needs k skeleton rows: the columns left get the first rows
  /// left, and zeros, because no row has a part in these skeleton rows.
  template <class Exec>
  HACK_BODY static void fill_up(Exec& exec, const InterpolationJob& job, int h, int k) {
    const auto columns = exec.template shared<int>(columns_at);
    const auto rows = exec.template shared<int>(rows_at);
    for (int n = exec.thread(); n < h * k; n += max_threads) {
      if (rows[n % k] < 0) job.space[n] = 0;
    }
    exec.sync();
    if (exec.thread() == 0) {
      int i = 0;
      for (int b = 0; b < k; ++b) {
        if (rows[b] >= 0) continue;
        while (columns[i] >= 0) ++i;
        columns[i] = b;
        rows[b] = i;
      }
    }
    exec.sync();
  }

  /// Exchanges rows until no coefficient is too large (Gu and Eisenstat 1996), the largest first. Each exchange
  /// multiplies |det U_I| by more than `largest_coefficient`, so the loop ends.
  template <class Exec>
  HACK_BODY void bound(Exec& exec, const InterpolationJob& job, int h, int k) const {
    const auto columns = exec.template shared<int>(columns_at);
    const auto rows = exec.template shared<int>(rows_at);
    while (h > k && k > 0) {
      float value;
      int at;
      find_largest(exec, job, h, k, false, value, at);
      if (!(value > largest_coefficient)) return;
      const int b = at % k, old = rows[b];
      for (int l = exec.thread(); l < k; l += max_threads) job.space[old * k + l] = l == b ? 1 : 0;
      exec.sync();
      if (exec.thread() == 0) columns[old] = -1;
      exec.sync();
      pivot_on(exec, job, h, k, at / k, b);
    }
  }

  template <class Exec>
  HACK_BODY static void count_above(Exec& exec, int h) {
    const auto columns = exec.template shared<int>(columns_at);
    const auto above = exec.template shared<int>(above_at);
    for (int i = exec.thread(); i < h; i += max_threads) {
      int count = 0;
      for (int r = 0; r < i; ++r) count += columns[r] >= 0 ? 1 : 0;
      above[i] = count;
    }
    exec.sync();
  }

  /// Writes marks, and coefficients with rows from top to bottom; returns 1 where this thread's numbers are finite in
  /// f32.
  template <class Exec>
  HACK_BODY static float write_coefficients(Exec& exec, const InterpolationJob& job, int h, int k, float& growth) {
    const auto columns = exec.template shared<int>(columns_at);
    const auto rows = exec.template shared<int>(rows_at);
    const auto above = exec.template shared<int>(above_at);
    for (int byte = exec.thread(); byte < (h + 7) / 8; byte += max_threads) {
      unsigned bits = 0;
      for (int bit = 0; bit < 8 && 8 * byte + bit < h; ++bit) bits |= (columns[8 * byte + bit] >= 0 ? 1u : 0u) << bit;
      job.marks[byte] = static_cast<std::uint8_t>(bits);
    }
    float finite = 1;
    for (int n = exec.thread(); n < h * k; n += max_threads) {
      const int i = n / k, l = n % k;
      if (columns[i] >= 0) continue;
      const auto c = static_cast<float>(job.space[n]);
      job.coefficients.row(i - above[i])[above[rows[l]]] = c;
      growth = fmaxf(growth, fabsf(c));
      if (!(fabsf(c) <= largest_float)) finite = 0;
    }
    return finite;
  }

  /// Writes the pivot rows of U diag(sigma) Vᵀ; returns 1 where this thread's numbers are finite in f32.
  template <class Exec>
  HACK_BODY static float write_skeleton(Exec& exec, const InterpolationJob& job, int h, int k) {
    const auto columns = exec.template shared<int>(columns_at);
    const auto above = exec.template shared<int>(above_at);
    float finite = 1;
    for (int i = exec.warp(); i < h; i += warps) {
      if (columns[i] < 0) continue;
      for (index_t j = exec.lane(); j < job.vt.cols; j += 32) {
        double sum = 0;
        for (int l = 0; l < k; ++l) sum += static_cast<double>(job.u.row(i)[l]) * job.sigma[l] * job.vt.row(l)[j];
        const auto x = static_cast<float>(sum);
        job.skeleton.row(above[i])[j] = x;
        if (!(fabsf(x) <= largest_float)) finite = 0;
      }
    }
    return finite;
  }
};

}  // namespace hack::kernels::cuda

#define HACK_INTERPOLATIVE_KERNELS(X) X(InterpolateTiles)
