// Cuts a matrix into tiles, keeps the leading singular vectors of each tile, multiplies a vector with these factors and
// compares the result with the product of the matrix itself.
//
//   factorize_tiles
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "kernels/linear.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/tile/tile_grid.hpp"

using namespace hack;
constexpr auto cpu = Device::cpu;

WeightView<> weight(MatrixView<float> m) { return {m.data, Codec::f32, m.rows, m.cols, m.ld}; }

int main() {
  constexpr index_t rows = 300, columns = 200, tile_size = 64, rank = 16;
  std::vector<Buffer<float>> memory;
  const auto matrix = [&](index_t m, index_t n) { return MatrixView(memory.emplace_back(m * n).data(), m, n); };
  const auto w = matrix(rows, columns), x = matrix(1, columns), dense = matrix(1, rows), y = matrix(1, rows);
  for (index_t j = 0; j < columns; ++j) {
    x(0, j) = 1.0F / static_cast<float>(1 + j);
    for (index_t i = 0; i < rows; ++i) w(i, j) = 1.0F / (1.0F + 0.01F * static_cast<float>((i - j) * (i - j)));
  }

  // Views say where each tile lies and where its factors go; one call factorizes all tiles, here on two threads.
  Queue<cpu> queue(2);
  const svd::TileGrid grid(rows, columns, tile_size, tile_size);
  std::vector<MatrixView<const float>> tiles;
  std::vector<kernels::TileSvd<cpu>> factors;
  for (index_t t = 0; t < grid.size(); ++t) {
    const svd::Tile at = grid.tile(t);  // at the lower and right edge tiles are smaller
    const index_t k = std::min(rank, at.full_rank());
    tiles.push_back(w.block(at.row, at.col, at.height, at.width));
    factors.push_back({.u = matrix(at.height, k), .sigma = matrix(1, at.full_rank()).data, .vt = matrix(k, at.width)});
  }
  kernels::tile_svd<cpu>(queue, tiles, factors);

  // y_i = sum over j of U_ij diag(sigma_ij) V_ijT x_j; `linear` multiplies with a weight of shape (outputs, inputs).
  for (index_t t = 0; t < grid.size(); ++t) {
    const svd::Tile at = grid.tile(t);
    const auto& [u, sigma, vt, status] = factors[static_cast<std::size_t>(t)];
    const auto z = matrix(1, vt.rows);
    kernels::linear<cpu>(queue, x.block(0, at.col, 1, at.width), weight(vt), z);
    for (index_t r = 0; r < vt.rows; ++r) z(0, r) *= sigma[r];
    const auto write = at.j == 0 ? kernels::Write::replace : kernels::Write::add;
    kernels::linear<cpu>(queue, z, weight(u), y.block(0, at.row, 1, at.height), write);
  }
  kernels::linear<cpu>(queue, x, weight(w), dense);

  double error = 0, norm = 0;
  for (index_t i = 0; i < rows; ++i) error += std::pow(y(0, i) - dense(0, i), 2), norm += std::pow(dense(0, i), 2);
  std::printf("%ld tiles of rank %ld: relative error %.1e\n", grid.size(), rank, std::sqrt(error / norm));
  return error < 1e-6 * norm ? 0 : 1;
}
