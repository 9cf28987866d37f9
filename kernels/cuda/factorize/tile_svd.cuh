#pragma once

#include "kernels/cuda/factorize/svd_job.cuh"

namespace hack::kernels::cuda {

/// One-sided Jacobi (Hestenes 1958) in f32, a block of threads per tile. X = A, or Aᵀ where h < w, has n <= m columns
/// of length m. Plane rotations of pairs of columns make the columns orthogonal, X V = U diag(sigma); V is the product
/// of the rotations. Column x and below it column v are kept in shared memory. In a step of a sweep each warp takes
/// eight columns, two blocks of four, to registers and makes all pairs between the blocks orthogonal, in the first step
/// also the pairs within a block. Blocks meet in the order of a round-robin tournament (Brent and Luk 1985): warps
/// share no column, and every pair meets once a sweep. A pair whose cosine is at most `tolerance` stays, a criterion
/// relative to the columns' own norms (Demmel and Veselić 1992); a sweep without rotations is the last. Fails where
/// sweeps do not end; vectors of null directions are not written.
struct JacobiSvd {
  static constexpr const char* name = "JacobiSvd";
  static constexpr int side = 128;
  static constexpr int max_threads = 512;
  static constexpr int block = 4;            // columns
  static constexpr int held = 2 * block;     // by a warp
  static constexpr int column = 2 * side;    // words of one: x (side), v (side)
  static constexpr int parts = column / 32;  // numbers of a column that a lane holds
  static constexpr int most_sweeps = 30;
  static constexpr float tolerance = 1e-6f;
  static constexpr float smallest_square = 1e-30f;  // of a column that is not null; the largest number of X is 1 to 2

  const SvdJob* tiles = nullptr;
  index_t count = 0;
  int largest_order = 0;  // of X's columns, over all tiles
  JacobiResult* results = nullptr;

  Geometry geometry() const {
    const int columns = (largest_order + held - 1) / held * held;
    return {count, max_threads, columns * column + 3 * side + 32};
  }

  /// The tile of this block of threads, as every thread knows it.
  struct Tile {
    SvdJob at;
    int m, n, columns;  // columns: n, filled up with null ones
    bool is_transposed;
    int exponent;  // X is scaled by 2^-exponent
  };

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const int last = static_cast<int>(exec.threads());
    Tile tile{};
    tile.at = tiles[exec.block()];
    const int h = static_cast<int>(tile.at.a.rows), w = static_cast<int>(tile.at.a.cols);
    tile.is_transposed = h < w;
    tile.m = h < w ? w : h;
    tile.n = h < w ? h : w;
    tile.columns = (tile.n + held - 1) / held * held;
    float largest = 0, broken = 0;
    for (int i = exec.thread(); i < h * w; i += last) {
      const float x = fabsf(tile.at.a.row(i / w)[i % w]);
      largest = fmaxf(largest, x);
      if (!(x <= 3.4028235e38f)) broken = 1;
    }
    broken = block_sum(exec, broken, 0);
    exec.sync();
    largest = block_max(exec, largest, 0);
    exec.sync();
    JacobiResult result{JacobiStatus::not_finite, 0};
    if (broken == 0) {
      tile.exponent = largest > 0 ? ilogbf(largest) : 0;
      load(exec, tile);
      result = sweep_until_orthogonal(exec, tile) ? write(exec, tile) : JacobiResult{JacobiStatus::failed, 0};
    }
    if (exec.thread() == 0) results[exec.block()] = result;
  }

 private:
  static constexpr int scratch = 3 * side;  // behind the norms of x and v and the places of columns

  template <class Exec>
  HACK_BODY auto columns_of(Exec& exec) const {
    return exec.template shared<float>(scratch + 32);
  }

  /// Loads X, scaled, and the unit matrix below it.
  template <class Exec>
  HACK_BODY void load(Exec& exec, const Tile& tile) const {
    const auto columns = columns_of(exec);
    for (int n = exec.thread(); n < tile.columns * column; n += exec.threads()) {
      const int j = n / column, i = n % column;
      float value = i - side == j ? 1.0f : 0.0f;
      if (i < tile.m && j < tile.n) {
        value = ldexpf(tile.is_transposed ? tile.at.a.row(j)[i] : tile.at.a.row(i)[j], -tile.exponent);
      }
      columns[n] = value;
    }
    exec.sync();
  }

  /// Returns whether a sweep rotated nothing within `most_sweeps`. Invariant between two steps: every x column is X
  /// times the v column below it, and the v columns are orthonormal, up to rounding.
  template <class Exec>
  HACK_BODY bool sweep_until_orthogonal(Exec& exec, const Tile& tile) const {
    const int blocks = tile.columns / block;
    for (int sweep = 0; sweep < most_sweeps; ++sweep) {
      float rotations = 0;
      for (int step = 0; step < blocks - 1; ++step) {
        for (int pair = exec.warp(); pair < blocks / 2; pair += exec.threads() / 32) {
          // One block stays; of the others, pairs meet whose numbers add up to 2 step modulo blocks - 1.
          const int first = pair == 0 ? blocks - 1 : (step + pair) % (blocks - 1);
          const int second = pair == 0 ? step : (step - pair + blocks - 1) % (blocks - 1);
          rotations += meet(exec, first * block, second * block, step == 0);
        }
        exec.sync();
      }
      rotations = block_sum(exec, rotations, scratch);
      exec.sync();  // the scratch has been read
      if (rotations == 0) return true;
    }
    return false;
  }

  /// Makes columns of two blocks orthogonal to each other, with `within` also columns of one block; returns the number
  /// of rotations. Squares of the columns are computed once, the rotations update them.
  template <class Exec>
  HACK_BODY float meet(Exec& exec, int first, int second, bool within) const {
    const auto columns = columns_of(exec);
    float x[held][parts];
    float squares[held];
    HACK_UNROLL
    for (int c = 0; c < held; ++c) {
      const int start = (c < block ? first + c : second + c - block) * column + exec.lane();
      HACK_UNROLL
      for (int r = 0; r < parts; ++r) x[c][r] = columns[start + 32 * r];
      squares[c] = dot(exec, x[c], x[c]);
    }
    float rotations = 0;
    HACK_UNROLL
    for (int i = 0; i < held; ++i) {
      HACK_UNROLL
      for (int j = i + 1; j < held; ++j) {
        const bool is_between = i < block && j >= block;
        if (is_between || within) rotations += rotate(exec, x[i], x[j], squares[i], squares[j]);
      }
    }
    HACK_UNROLL
    for (int c = 0; c < held; ++c) {
      const int start = (c < block ? first + c : second + c - block) * column + exec.lane();
      HACK_UNROLL
      for (int r = 0; r < parts; ++r) columns[start + 32 * r] = x[c][r];
    }
    return rotations;
  }

  /// The product of the x halves of two columns; every lane gets the same bits, so that all lanes decide alike.
  template <class Exec>
  HACK_BODY float dot(Exec& exec, const float (&a)[parts], const float (&b)[parts]) const {
    float sum = 0;
    HACK_UNROLL
    for (int r = 0; r < parts / 2; ++r) sum = fmaf(a[r], b[r], sum);
    return exec.group_sum(sum, 32);
  }

  /// Makes columns a and b orthogonal; returns 1, or 0 where they are orthogonal enough. t is the tangent of the
  /// smaller of the two possible angles, with which sweeps converge. The rotation has the form a -= s (b + tau a), tau
  /// = s / (1 + c) (Rutishauser 1966): for small angles c rounds to 1, and the form with c would inflate the norms each
  /// time.
  template <class Exec>
  HACK_BODY float rotate(Exec& exec, float (&a)[parts], float (&b)[parts], float& a_square, float& b_square) const {
    const float product = dot(exec, a, b);
    if (!(fabsf(product) > tolerance * sqrtf(a_square) * sqrtf(b_square))) return 0;
    const float zeta = (b_square - a_square) / (2 * product);
    const float t = copysignf(1 / (fabsf(zeta) + sqrtf(1 + zeta * zeta)), zeta);
    const float c = 1 / sqrtf(1 + t * t), s = c * t, tau = s / (1 + c);
    HACK_UNROLL
    for (int r = 0; r < parts; ++r) {
      const float before = a[r];
      a[r] -= s * (b[r] + tau * before);
      b[r] += s * (before - tau * b[r]);
    }
    a_square -= t * product;
    b_square += t * product;
    return 1;
  }

  /// Writes sigma, descending, and the wanted vectors.
  template <class Exec>
  HACK_BODY JacobiResult write(Exec& exec, const Tile& tile) const {
    const auto columns = columns_of(exec);
    const auto x_norms = exec.template shared<float>(0);
    const auto v_norms = exec.template shared<float>(side);
    const auto places = exec.template shared<int>(2 * side);
    for (int j = exec.warp(); j < tile.n; j += exec.threads() / 32) {
      float x = 0, v = 0;
      for (int i = exec.lane(); i < side; i += 32) {
        x += columns[j * column + i] * columns[j * column + i];
        v += columns[j * column + side + i] * columns[j * column + side + i];
      }
      x = exec.group_sum(x, 32);
      v = exec.group_sum(v, 32);
      if (exec.lane() == 0) {
        x_norms[j] = x < smallest_square ? 0.0f : sqrtf(x);
        v_norms[j] = sqrtf(v);
      }
    }
    exec.sync();
    float overflows = 0, found = 0;
    for (int j = exec.thread(); j < tile.n; j += exec.threads()) {
      // Rounding has changed the length of a v column, and of its x column by the same factor: the quotient has not.
      const float sigma = x_norms[j] / v_norms[j];
      int place = 0;
      for (int i = 0; i < tile.n; ++i) {
        const float other = x_norms[i] / v_norms[i];
        place += other > sigma || (other == sigma && i < j);
      }
      places[j] = place;
      const float unscaled = ldexpf(sigma, tile.exponent);
      tile.at.sigma[place] = unscaled;
      if (!(unscaled <= 3.4028235e38f)) overflows = 1;
      if (place < tile.at.vt.rows && sigma > 0) ++found;
    }
    overflows = block_sum(exec, overflows, scratch);  // its barrier also ends the writing of places
    exec.sync();
    const int vectors = static_cast<int>(block_sum(exec, found, scratch));
    if (overflows > 0) return {JacobiStatus::not_finite, 0};
    for (int n = exec.thread(); n < tile.n * column; n += exec.threads()) {
      const int j = n / column, i = n % column;
      const int place = places[j];
      const bool is_x = i < side;
      const int row = is_x ? i : i - side;
      if (place >= vectors || row >= (is_x ? tile.m : tile.n)) continue;
      const float value = columns[n] / (is_x ? x_norms[j] : v_norms[j]);
      if (is_x != tile.is_transposed) {
        tile.at.u.row(row)[place] = value;
      } else {
        tile.at.vt.row(place)[row] = value;
      }
    }
    return {JacobiStatus::ok, vectors};
  }
};

}  // namespace hack::kernels::cuda

#define HACK_TILE_SVD_KERNELS(X) X(JacobiSvd)
