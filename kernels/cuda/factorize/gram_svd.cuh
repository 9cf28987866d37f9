#pragma once

#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

// The steps of gram_svd.hpp beside the library's products and eigenvectors. X (depth, n) is the tile, or its transpose
// where the transpose is taller. Eigenvalues ascend, as the library leaves them; number c of a singular value counts
// from the last eigenvalue.

/// Some rows of a tile, and their place in double.
struct TileRows {
  static constexpr index_t most = 32;
  Array<const float> from;
  Array<double> to;
  double scale = 1;
};

/// The largest magnitude of each share, infinity where a number is not finite: a block of threads per share.
struct LargestMagnitude {
  static constexpr const char* name = "LargestMagnitude";
  static constexpr int max_threads = 256;
  const TileRows* shares = nullptr;
  index_t count = 0;
  float* largest = nullptr;

  Geometry geometry() const { return {count, max_threads, 32}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const Array<const float> from = shares[exec.block()].from;
    float most = 0;
    for (index_t n = exec.thread(); n < from.rows * from.cols; n += max_threads) {
      const float x = fabsf(from.row(n / from.cols)[n % from.cols]);
      most = fmaxf(most, x <= 3.4028235e38f ? x : INFINITY);
    }
    most = block_max(exec, most, 0);
    if (exec.thread() == 0) largest[exec.block()] = most;
  }
};

/// to = scale · from: a block of threads per share.
struct WidenScaled {
  static constexpr const char* name = "WidenScaled";
  static constexpr int max_threads = 256;
  const TileRows* shares = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const TileRows share = shares[exec.block()];
    for (index_t n = exec.thread(); n < share.to.rows * share.to.cols; n += max_threads) {
      const index_t i = n / share.to.cols, j = n % share.to.cols;
      share.to.row(i)[j] = static_cast<double>(share.from.row(i)[j]) * share.scale;
    }
  }
};

/// The place of the vectors of one side: number i of vector c.
struct VectorSide {
  float* data = nullptr;
  index_t step = 0, next = 0;  // from one number, one vector to the next

  HACK_BODY float& at(index_t c, index_t i) const { return data[c * next + i * step]; }
};

/// Eigenvalues and shape of a tile, and the places of its results.
struct GramTile {
  const double* lambda = nullptr;  // (n) ascending
  float* sigma = nullptr;          // (n) descending; null where the spectrum is not wanted
  int* failure = nullptr;          // becomes 1
  int n = 0, depth = 0;
  int exponent = 0;  // X is scaled by 2^-exponent
  int wanted = 0;    // vectors
  VectorSide z, w;   // of the smaller side and of the other

  HACK_BODY double square(int c) const {
    const double x = lambda[n - 1 - c];
    return x > 0 ? x : 0;
  }
  /// Whether vectors j < c of the larger side, X times eigenvectors, may be 1e-7 off orthogonal.
  HACK_BODY bool is_close(int j, int c) const {
    constexpr double small_product = 4e-8;  // of singular values, as on the CPU
    return square(j) * square(c) < small_product * small_product * square(0) * square(0);
  }
  HACK_BODY bool is_small(int c) const { return !(square(c) > 0) || (c > 0 && is_close(c - 1, c)); }
};

/// Singular values of the tiles; fails beyond the range of f32. A block of threads per tile.
struct GramSpectra {
  static constexpr const char* name = "GramSpectra";
  static constexpr int max_threads = 128;
  const GramTile* tiles = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const GramTile tile = tiles[exec.block()];
    for (int c = exec.thread(); c < tile.n; c += max_threads) {
      const double sigma = ldexp(sqrt(tile.square(c)), tile.exponent);
      if (!(sigma <= 3.4028234663852886e38)) *tile.failure = 1;
      if (tile.sigma != nullptr) tile.sigma[c] = static_cast<float>(sigma);
    }
  }
};

/// Some vectors of a tile, in the order of eigenvalues: the last is vector `first`.
struct GramPanel {
  GramTile tile;
  const double* z = nullptr;  // (width, n)
  const double* w = nullptr;  // (width, depth) Xz
  int first = 0, width = 0;
};

/// Writes z, and w brought to unit length, or zeros where w is nothing but rounding. Fails where the squared length of
/// w is not the eigenvalue: then an eigenvector is wrong. A warp per vector.
struct GramVectors {
  static constexpr const char* name = "GramVectors";
  static constexpr int max_threads = 32;
  static constexpr int panel = 128;
  static constexpr double null_norm = 1e-14;  // as on the CPU, of the largest
  static constexpr double norm_tolerance = 1e-10;
  const GramPanel* panels = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count * panel, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const GramPanel at = panels[exec.block() / panel];
    const int q = static_cast<int>(exec.block() % panel), c = at.first + q;
    if (q >= at.width || c >= at.tile.wanted) return;
    const index_t row = at.width - 1 - q;
    const double* z = at.z + row * at.tile.n;
    const double* w = at.w + row * at.tile.depth;
    double square = 0;
    for (int i = exec.lane(); i < at.tile.depth; i += 32) square += w[i] * w[i];
    square = exec.group_sum(square, 32);
    const double largest = at.tile.square(0), difference = square - at.tile.lambda[at.tile.n - 1 - c];
    if (exec.lane() == 0 && !(fabs(difference) <= norm_tolerance * largest)) *at.tile.failure = 1;
    const double norm = sqrt(square);
    const double factor = norm > null_norm * sqrt(largest) ? 1 / norm : 0;
    for (int i = exec.lane(); i < at.tile.n; i += 32) at.tile.z.at(c, i) = static_cast<float>(z[i]);
    for (int i = exec.lane(); i < at.tile.depth; i += 32) at.tile.w.at(c, i) = static_cast<float>(w[i] * factor);
  }
};

/// A tile of CompleteVectors and its working memory.
struct SmallVectors {
  GramTile tile;
  double* column = nullptr;    // (depth)
  double* products = nullptr;  // (wanted)
};

/// Orthogonalizes small vectors of the larger side against the vectors before them by Gram-Schmidt with every step done
/// twice. A vector of which nothing is left becomes the first coordinate vector with enough left outside the span of
/// the vectors before it. A block of threads per tile.
struct CompleteVectors {
  static constexpr const char* name = "CompleteVectors";
  static constexpr int max_threads = 256;
  static constexpr double least_left = 1e-3;  // for more two passes are enough (Giraud, Langou, Rozložník 2005)
  const SmallVectors* tiles = nullptr;
  index_t count = 0;

  Geometry geometry() const { return {count, max_threads, 64}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const SmallVectors at = tiles[exec.block()];
    for (int c = 0; c < at.tile.wanted; ++c) {
      if (!at.tile.is_small(c)) continue;
      int near = c;
      while (near > 0 && at.tile.is_close(near - 1, c)) --near;
      for (int i = exec.thread(); i < at.tile.depth; i += max_threads) at.column[i] = at.tile.w.at(c, i);
      exec.sync();
      double left = clear_twice(exec, at, near, c);
      if (!(left > least_left)) {
        if (!set_coordinate(exec, at, c)) return;
        left = clear_twice(exec, at, 0, c);
      }
      for (int i = exec.thread(); i < at.tile.depth; i += max_threads) {
        at.tile.w.at(c, i) = static_cast<float>(at.column[i] / left);
      }
      exec.sync();
    }
  }

 private:
  /// Takes vectors first … c - 1 out of the column; returns the norm that is left, the same bits in every thread.
  template <class Exec>
  HACK_BODY static double clear_twice(Exec& exec, const SmallVectors& at, int first, int c) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int j = first + exec.warp(); j < c; j += max_threads / 32) {
        double sum = 0;
        for (int i = exec.lane(); i < at.tile.depth; i += 32) sum += at.column[i] * at.tile.w.at(j, i);
        sum = exec.group_sum(sum, 32);
        if (exec.lane() == 0) at.products[j] = sum;
      }
      exec.sync();
      for (int i = exec.thread(); i < at.tile.depth; i += max_threads) {
        double sum = 0;
        for (int j = first; j < c; ++j) sum += at.products[j] * at.tile.w.at(j, i);
        at.column[i] -= sum;
      }
      exec.sync();
    }
    double square = 0;
    for (int i = exec.lane(); i < at.tile.depth; i += 32) square += at.column[i] * at.column[i];
    return sqrt(exec.group_sum(square, 32));
  }

  /// The column becomes a coordinate vector whose square outside the span of the vectors before c is at least a quarter
  /// of the mean over all coordinates; false where there is none: then the vectors before c are not orthonormal.
  template <class Exec>
  HACK_BODY static bool set_coordinate(Exec& exec, const SmallVectors& at, int c) {
    const double enough = 0.25 * (at.tile.depth - c) / at.tile.depth;  // of the square
    float found = 0;
    int coordinate = at.tile.depth;
    for (int i = exec.thread(); i < at.tile.depth && found == 0; i += max_threads) {
      double rest = 1;
      for (int j = 0; j < c; ++j) rest -= static_cast<double>(at.tile.w.at(j, i)) * at.tile.w.at(j, i);
      if (rest < enough) continue;
      found = 1;
      coordinate = i;
    }
    block_largest(exec, found, coordinate, 0);
    if (found == 0 && exec.thread() == 0) *at.tile.failure = 1;
    for (int i = exec.thread(); i < at.tile.depth; i += max_threads) at.column[i] = i == coordinate ? 1.0 : 0.0;
    exec.sync();
    return found > 0;
  }
};

}  // namespace hack::kernels::cuda

#define HACK_GRAM_SVD_KERNELS(X) \
  X(LargestMagnitude)            \
  X(WidenScaled)                 \
  X(GramSpectra)                 \
  X(GramVectors)                 \
  X(CompleteVectors)
