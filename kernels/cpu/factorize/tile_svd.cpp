#include "kernels/tile_svd.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <cblas.h>
#include <omp.h>

#include "kernels/buffer.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "kernels/cpu/factorize/tile_factorizer.hpp"

namespace hack::kernels {
namespace {

using Cpu = TileSvd<Device::cpu>;
using Tiles = std::span<const MatrixView<const float>>;

int threads_for(const Queue<Device::cpu>& queue, std::size_t tiles) {
  return static_cast<int>(std::min(static_cast<std::size_t>(queue.threads()), tiles));
}

/// Calls step(factorizer, shape, t) for every tile t, one tile per thread; its result is the tile's status.
template <class Step>
void for_each_tile(Queue<Device::cpu>& queue, Tiles tiles, std::span<Cpu> out, const Step& step) {
  if (tiles.empty()) return;
  hold_blas_to_one_thread();
  std::map<std::pair<index_t, index_t>, std::size_t> numbers;  // of shapes
  std::vector<TileFactorizer::Shape> shapes;
  std::vector<std::size_t> shape_of;  // (tiles)
  for (const MatrixView<const float>& tile : tiles) {
    const auto [entry, is_first] = numbers.try_emplace({tile.rows, tile.cols}, shapes.size());
    if (is_first) shapes.push_back({tile.rows, tile.cols, LibrarySvd::work_lengths(tile.rows, tile.cols)});
    shape_of.push_back(entry->second);
  }
  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  const int threads = threads_for(queue, tiles.size());
  std::vector<TileFactorizer> factorizers;
  for (int t = 0; t < threads; ++t) factorizers.emplace_back(shapes);

#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    out[t].status = step(factorizers[static_cast<std::size_t>(omp_get_thread_num())], shapes[shape_of[t]], t);
  }
}

void check_shapes(Tiles tiles, std::span<const Cpu> out) {
  HACK_EXPECT(tiles.size() == out.size());
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const index_t h = tiles[t].rows;
    const index_t w = tiles[t].cols;
    const index_t k = out[t].u.cols;
    HACK_EXPECT(h > 0 && w > 0 && k >= 0 && k <= std::min(h, w));
    HACK_EXPECT(k == 0 || (out[t].u.rows == h && out[t].vt.rows == k && out[t].vt.cols == w));
  }
}

}  // namespace

template <>
TileSvdBytes tile_svd_bytes<Device::cpu>(index_t h, index_t w, index_t k) {
  const index_t r = std::min(h, w), depth = std::max(h, w);
  if (GramSvd::fits(h, w)) return {8 * GramSvd::kept_size(r), 8 * (3 * r * depth + 4 * r * r)};
  return {8 * WholeSvd::kept_size(r), WholeSvd::scratch_bytes(h, w, k)};
}

template <>
void tile_svd<Device::cpu>(Queue<Device::cpu>& queue, Tiles tiles, std::span<Cpu> out) {
  check_shapes(tiles, out);
  for_each_tile(queue, tiles, out, [&](TileFactorizer& factorizer, const TileFactorizer::Shape& shape, std::size_t t) {
    return factorizer.factorize(tiles[t], shape, out[t]);
  });
}

template <>
void tile_spectra<Device::cpu>(Queue<Device::cpu>& queue, Tiles tiles, std::span<Cpu> out,
                               ReducedTiles<Device::cpu>& reduced) {
  check_shapes(tiles, out);
  reduced.forms.clear();
  for (const MatrixView<const float>& tile : tiles) {
    const index_t r = std::min(tile.rows, tile.cols);
    reduced.forms.emplace_back(GramSvd::fits(tile.rows, tile.cols) ? GramSvd::kept_size(r) : WholeSvd::kept_size(r));
  }
  for_each_tile(queue, tiles, out, [&](TileFactorizer& factorizer, const TileFactorizer::Shape& shape, std::size_t t) {
    return factorizer.reduce(tiles[t], shape, out[t], reduced.forms[t].data());
  });
}

template <>
void tile_vectors<Device::cpu>(Queue<Device::cpu>& queue, Tiles tiles, const ReducedTiles<Device::cpu>& reduced,
                               std::span<Cpu> out) {
  check_shapes(tiles, out);
  HACK_EXPECT(reduced.forms.size() == tiles.size());
  for_each_tile(queue, tiles, out, [&](TileFactorizer& factorizer, const TileFactorizer::Shape& shape, std::size_t t) {
    if (out[t].status != SvdStatus::ok || out[t].u.cols == 0) return out[t].status;
    return factorizer.finish(tiles[t], shape, reduced.forms[t].data(), out[t]);
  });
}

template <>
void library_svd<Device::cpu>(Queue<Device::cpu>& queue, Tiles tiles, std::span<Cpu> out) {
  check_shapes(tiles, out);
  for_each_tile(queue, tiles, out, [&](TileFactorizer& factorizer, const TileFactorizer::Shape& shape, std::size_t t) {
    return factorizer.factorize_by_library(tiles[t], shape, out[t]);
  });
}

template <>
void tile_product<Device::cpu>(Queue<Device::cpu>& queue, std::span<const Cpu> tiles, std::span<const index_t> ranks,
                               std::span<const MatrixView<float>> out) {
  HACK_EXPECT(tiles.size() == ranks.size() && tiles.size() == out.size());
  if (tiles.empty()) return;
  hold_blas_to_one_thread();

  index_t largest = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    HACK_EXPECT(ranks[t] >= 0 && ranks[t] <= tiles[t].u.cols);
    HACK_EXPECT(out[t].rows == tiles[t].u.rows && out[t].cols == tiles[t].vt.cols);
    largest = std::max(largest, tiles[t].u.rows * ranks[t]);
  }
  const int threads = threads_for(queue, tiles.size());
  std::vector<Buffer<float>> scaled;  // per thread: U_k diag(sigma_k) (h, k)
  for (int t = 0; t < threads; ++t) scaled.emplace_back(largest);

#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    float* us = scaled[static_cast<std::size_t>(omp_get_thread_num())].data();
    const Cpu& svd = tiles[t];
    const index_t h = svd.u.rows;
    const index_t w = svd.vt.cols;
    const index_t k = ranks[t];
    for (index_t i = 0; i < h; ++i) {
      for (index_t l = 0; l < k; ++l) us[i * k + l] = svd.u(i, l) * svd.sigma[l];
    }
    // With k = 0, BLAS only clears the result; its leading dimension must be 1 all the same.
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(h), static_cast<blasint>(w),
                static_cast<blasint>(k), 1.0f, us, static_cast<blasint>(std::max<index_t>(k, 1)), svd.vt.data,
                static_cast<blasint>(svd.vt.ld), 0.0f, out[t].data, static_cast<blasint>(out[t].ld));
  }
}

}  // namespace hack::kernels
