#include "kernels/tile_svd.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/cuda/train/product_batch.hpp"
#include "kernels/cuda/factorize/gram_svd.hpp"
#include "kernels/cuda/factorize/host_tiles.hpp"
#include "kernels/cuda/factorize/kept_vectors.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/cuda/factorize/tile_svd.cuh"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::array_of;
using cuda::HostTiles;
using cuda::JacobiResult;
using cuda::JacobiStatus;
using cuda::JacobiSvd;
using cuda::Operand;
using cuda::Workspace;
using Tile = MatrixView<const float, D>;
using Numbers = std::vector<std::size_t>;  // of tiles in a batch

void check_shapes(std::span<const Tile> tiles, std::span<const TileSvd<D>> out) {
  HACK_EXPECT(tiles.size() == out.size());
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const index_t h = tiles[t].rows, w = tiles[t].cols, k = out[t].vt.rows;
    HACK_EXPECT(h > 0 && w > 0 && k <= std::min(h, w));
    HACK_EXPECT(k == 0 || (out[t].u.rows == h && out[t].u.cols == k && out[t].vt.cols == w));
  }
}

/// Whether a tile fits a block of threads of this GPU.
bool fits(index_t h, index_t w) {
  if (std::max(h, w) > JacobiSvd::side) return false;
  const JacobiSvd one{nullptr, 1, static_cast<int>(std::min(h, w)), nullptr};
  return 4 * one.geometry().shared_words <= cuda::shared_bytes_of_block();
}
bool fits(const Tile& tile) { return fits(tile.rows, tile.cols); }

template <class T>
T* listed(Queue<D>& queue, const std::vector<T>& list) {
  T* there = queue.resources().workspace<T>(Workspace::tiles, std::ssize(list));
  cuda::upload(queue, there, list.data(), list.size() * sizeof(T));
  return there;
}

/// Factorizes tiles that fit a block of threads and writes their vectors to `out`; states the outcome, and returns how
/// many vectors each tile got, -1 where sweeps did not end. Tiles that do not fit get -1.
std::vector<index_t> factorize(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out) {
  std::vector<index_t> found(tiles.size(), -1);
  Numbers numbers;
  std::vector<cuda::SvdJob> list;
  index_t largest = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    if (!fits(tiles[t])) continue;
    numbers.push_back(t);
    list.push_back({array_of(tiles[t]), array_of(out[t].u), out[t].sigma, array_of(out[t].vt)});
    largest = std::max(largest, std::min(tiles[t].rows, tiles[t].cols));
  }
  if (list.empty()) return found;
  const index_t count = std::ssize(list);
  auto* there = queue.resources().workspace<JacobiResult>(Workspace::results, count);
  cuda::launch(queue, JacobiSvd{listed(queue, list), count, static_cast<int>(largest), there});
  std::vector<JacobiResult> results(list.size());
  cuda::download(queue, results.data(), there, results.size() * sizeof(JacobiResult));
  for (std::size_t n = 0; n < results.size(); ++n) {
    const std::size_t t = numbers[n];
    out[t].status = results[n].status == JacobiStatus::not_finite ? SvdStatus::not_finite : SvdStatus::ok;
    found[t] = results[n].status == JacobiStatus::failed ? -1 : results[n].vectors;
  }
  return found;
}

/// The vectors of a tile that tile_spectra has kept.
MatrixView<float, D> kept_u(float* vectors, const Tile& tile) {
  return {vectors, tile.rows, std::min(tile.rows, tile.cols)};
}
MatrixView<float, D> kept_vt(float* vectors, const Tile& tile) {
  const index_t r = std::min(tile.rows, tile.cols);
  return {vectors + tile.rows * r, r, tile.cols};
}

/// Finds vectors of tiles whose spectra are known, on the host.
void find_vectors_on_host(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out,
                          const Numbers& numbers) {
  queue.resources().count_tiles_left_to_host(std::ssize(numbers));
  HostTiles there(queue, tiles, out, numbers);
  tile_svd<Device::cpu>(there.host, there.in, there.out);
  there.give_vectors();
}

/// Finds vectors of tiles whose spectra are known by the libraries, and on the host where the libraries fail.
void find_vectors_anew(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out,
                       const Numbers& numbers) {
  queue.resources().count_tiles_left_to_library(std::ssize(numbers));
  std::vector<TileSvd<D>> vectors(out.begin(), out.end());
  for (TileSvd<D>& svd : vectors) svd.sigma = nullptr;
  double* kept = queue.resources().workspace<double>(Workspace::tile_forms, cuda::gram_kept_size(tiles, numbers));
  auto [forms, left] = cuda::find_gram_spectra(queue, tiles, vectors, numbers, kept);
  const Numbers failed = cuda::find_gram_vectors(queue, tiles, vectors, forms, kept);
  left.insert(left.end(), failed.begin(), failed.end());
  find_vectors_on_host(queue, tiles, out, left);
}

}  // namespace

template <>
TileSvdBytes tile_svd_bytes<D>(index_t h, index_t w, index_t k) {
  const index_t r = std::min(h, w);
  if (fits(h, w)) return {4 * r * (h + w), 0};
  return {8 * r * (r + 1), cuda::gram_scratch_bytes(h, w, k)};
}

template <>
void tile_svd<D>(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out) {
  check_shapes(tiles, out);
  const std::vector<index_t> found = factorize(queue, tiles, out);
  Numbers left, with_nulls;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    if (found[t] < 0) left.push_back(t);
    if (found[t] >= 0 && found[t] < out[t].vt.rows && out[t].status == SvdStatus::ok) with_nulls.push_back(t);
  }
  find_vectors_anew(queue, tiles, out, with_nulls);
  queue.resources().count_tiles_left_to_library(std::ssize(left));
  double* kept = queue.resources().workspace<double>(Workspace::tile_forms, cuda::gram_kept_size(tiles, left));
  const auto [forms, failed] = cuda::find_gram_spectra(queue, tiles, out, left, kept);
  find_vectors_on_host(queue, tiles, out, cuda::find_gram_vectors(queue, tiles, out, forms, kept));
  queue.resources().count_tiles_left_to_host(std::ssize(failed));
  HostTiles there(queue, tiles, out, failed);
  tile_svd<Device::cpu>(there.host, there.in, there.out);
  there.give_spectra();
  there.give_vectors();
}

template <>
void tile_spectra<D>(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out,
                     ReducedTiles<D>& reduced) {
  check_shapes(tiles, out);
  reduced = {};
  index_t size = 0;
  for (const Tile& tile : tiles) {
    reduced.starts.push_back(size);
    if (fits(tile)) size += std::min(tile.rows, tile.cols) * (tile.rows + tile.cols);
  }
  reduced.vectors = Buffer<float, D>(size);
  std::vector<TileSvd<D>> whole;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    float* at = reduced.vectors.data() + reduced.starts[t];
    whole.push_back({kept_u(at, tiles[t]), out[t].sigma, kept_vt(at, tiles[t]), SvdStatus::ok});
  }
  reduced.found = factorize(queue, tiles, whole);
  Numbers left;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    out[t].status = whole[t].status;
    if (reduced.found[t] < 0) left.push_back(t);
  }
  queue.resources().count_tiles_left_to_library(std::ssize(left));
  reduced.kept = Buffer<double, D>(cuda::gram_kept_size(tiles, left));
  auto [forms, failed] = cuda::find_gram_spectra(queue, tiles, out, left, reduced.kept.data());
  reduced.forms = std::move(forms);
  reduced.left_to_host = std::move(failed);
  queue.resources().count_tiles_left_to_host(std::ssize(reduced.left_to_host));
  HostTiles there(queue, tiles, out, reduced.left_to_host);
  tile_spectra<Device::cpu>(there.host, there.in, there.out, reduced.made_on_host);
  there.give_spectra();
}

template <>
void tile_vectors<D>(Queue<D>& queue, std::span<const Tile> tiles, const ReducedTiles<D>& reduced,
                     std::span<TileSvd<D>> out) {
  check_shapes(tiles, out);
  HACK_EXPECT(reduced.found.size() == tiles.size());
  std::vector<cuda::KeptVectors> list;
  Numbers with_nulls;  // among the vectors wanted
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const index_t k = out[t].vt.rows;
    if (out[t].status != SvdStatus::ok || k == 0 || reduced.found[t] < 0) continue;
    if (reduced.found[t] < k) {
      with_nulls.push_back(t);
      continue;
    }
    auto* at = const_cast<float*>(reduced.vectors.data()) + reduced.starts[t];  // only read
    list.push_back({array_of<const float>(kept_u(at, tiles[t])), array_of<const float>(kept_vt(at, tiles[t])),
                    array_of(out[t].u), array_of(out[t].vt)});
  }
  if (!list.empty()) cuda::launch(queue, cuda::CopyVectors{listed(queue, list), std::ssize(list)});
  find_vectors_anew(queue, tiles, out, with_nulls);
  find_vectors_on_host(queue, tiles, out,
                       cuda::find_gram_vectors(queue, tiles, out, reduced.forms, reduced.kept.data()));
  HostTiles there(queue, tiles, out, reduced.left_to_host);
  tile_vectors<Device::cpu>(there.host, there.in, reduced.made_on_host, there.out);
  there.give_vectors();
}

template <>
void library_svd<D>(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out) {
  check_shapes(tiles, out);
  Numbers all(tiles.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  double* kept = queue.resources().workspace<double>(Workspace::tile_forms, cuda::gram_kept_size(tiles, all));
  const auto [forms, failed] = cuda::find_gram_spectra(queue, tiles, out, all, kept);
  for (const std::size_t t : failed) out[t].status = SvdStatus::not_converged;
  for (const std::size_t t : cuda::find_gram_vectors(queue, tiles, out, forms, kept)) {
    out[t].status = SvdStatus::not_converged;
  }
}

template <>
void tile_product<D>(Queue<D>& queue, std::span<const TileSvd<D>> tiles, std::span<const index_t> ranks,
                     std::span<const MatrixView<float, D>> out) {
  HACK_EXPECT(tiles.size() == ranks.size() && tiles.size() == out.size());
  cuda::ProductBatch products;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    HACK_EXPECT(ranks[t] >= 0 && ranks[t] <= tiles[t].u.cols);
    HACK_EXPECT(out[t].rows == tiles[t].u.rows && out[t].cols == tiles[t].vt.cols);
    products.add(Operand(tiles[t].u), Operand(tiles[t].vt), ranks[t], out[t], tiles[t].sigma);
  }
  products.multiply(queue);
}

}  // namespace hack::kernels
