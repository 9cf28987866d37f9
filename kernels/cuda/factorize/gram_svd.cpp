#include "kernels/cuda/factorize/gram_svd.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "kernels/batched_algebra.hpp"
#include "kernels/cuda/factorize/dense_library.hpp"
#include "kernels/cuda/factorize/gram_svd.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels::cuda {

namespace {

constexpr Device D = Device::cuda;

/// How many numbers of tiles are widened at once.
constexpr index_t most_numbers = index_t{1} << 26;

/// Tiles of one shape that go through the libraries together.
struct Batch {
  index_t h, w;
  std::vector<GramForm> forms;

  index_t n() const { return std::min(h, w); }
  index_t depth() const { return std::max(h, w); }
  index_t size() const { return std::ssize(forms); }
  bool is_transposed() const { return h < w; }
};

/// In the order of shapes.
std::vector<Batch> batches_of(TilesToFactorize tiles, std::span<const GramForm> forms) {
  std::map<std::pair<index_t, index_t>, Batch> open;
  std::vector<Batch> batches;
  for (const GramForm& form : forms) {
    const auto& tile = tiles[form.tile];
    Batch& batch = open.try_emplace({tile.rows, tile.cols}, Batch{tile.rows, tile.cols, {}}).first->second;
    if (batch.size() > 0 && (batch.size() + 1) * batch.h * batch.w > most_numbers) {
      batches.push_back(std::exchange(batch, {tile.rows, tile.cols, {}}));
    }
    batch.forms.push_back(form);
  }
  for (auto& [shape, batch] : open) batches.push_back(std::move(batch));
  return batches;
}

template <class T>
T* listed(Queue<D>& queue, const std::vector<T>& list) {
  T* there = queue.resources().workspace<T>(Workspace::tiles, std::ssize(list));
  upload(queue, there, list.data(), list.size() * sizeof(T));
  return there;
}

/// A tile, and where it goes in double, cut into shares.
void add_shares(std::vector<TileRows>& shares, const MatrixView<const float, D>& tile, double* to, double scale) {
  for (index_t i = 0; i < tile.rows; i += TileRows::most) {
    const index_t rows = std::min(TileRows::most, tile.rows - i);
    shares.push_back({array_of(tile.rows_from(i, rows)), {to + i * tile.cols, rows, tile.cols, tile.cols}, scale});
  }
}

/// States which tiles are not finite; returns the forms of the others, in which the exponent alone is set.
std::vector<GramForm> find_exponents(Queue<D>& queue, TilesToFactorize tiles, FactorizedTiles out,
                                     const TileIndices& numbers) {
  std::vector<TileRows> shares;
  std::vector<std::size_t> ends;
  for (const std::size_t t : numbers) {
    add_shares(shares, tiles[t], nullptr, 1);
    ends.push_back(shares.size());
  }
  auto* there = queue.resources().workspace<float>(Workspace::results, std::ssize(shares));
  launch(queue, LargestMagnitude{listed(queue, shares), std::ssize(shares), there});
  std::vector<float> found(shares.size());
  download(queue, found.data(), there, found.size() * sizeof(float));
  std::vector<GramForm> forms;
  std::size_t begin = 0;
  for (std::size_t n = 0; n < numbers.size(); begin = ends[n++]) {
    const float largest = *std::max_element(found.begin() + static_cast<std::ptrdiff_t>(begin),
                                            found.begin() + static_cast<std::ptrdiff_t>(ends[n]));
    out[numbers[n]].status = std::isfinite(largest) ? SvdStatus::ok : SvdStatus::not_finite;
    if (std::isfinite(largest))
      forms.push_back({.tile = numbers[n], .exponent = largest > 0 ? std::ilogb(largest) : 0});
  }
  return forms;
}

/// The tiles of a batch in double, one behind another.
double* widen(Queue<D>& queue, TilesToFactorize tiles, const Batch& batch) {
  const index_t numbers = batch.h * batch.w;
  auto* to = queue.resources().workspace<double>(Workspace::tile_values, batch.size() * numbers);
  std::vector<TileRows> shares;
  for (index_t m = 0; m < batch.size(); ++m) {
    const GramForm& form = batch.forms[static_cast<std::size_t>(m)];
    add_shares(shares, tiles[form.tile], to + m * numbers, std::ldexp(1.0, -form.exponent));
  }
  launch(queue, WidenScaled{listed(queue, shares), std::ssize(shares)});
  return to;
}

GramTile tile_of(const Batch& batch, const GramForm& form, const TileSvd<D>& out, const double* kept, int* failure) {
  GramTile tile{.lambda = kept + form.lambda,
                .sigma = out.sigma,
                .failure = failure,
                .n = static_cast<int>(batch.n()),
                .depth = static_cast<int>(batch.depth()),
                .exponent = form.exponent,
                .wanted = static_cast<int>(out.vt.rows)};
  const VectorSide u{out.u.data, out.u.ld, 1}, v{out.vt.data, 1, out.vt.ld};
  tile.z = batch.is_transposed() ? u : v;
  tile.w = batch.is_transposed() ? v : u;
  return tile;
}

/// Flags of a batch's tiles, all 0.
int* clear_flags(Queue<D>& queue, index_t count) {
  int* flags = queue.resources().workspace<int>(Workspace::flags, count);
  clear(queue, flags, static_cast<std::size_t>(count) * sizeof(int));
  return flags;
}

std::vector<int> read_flags(Queue<D>& queue, const int* flags, index_t count) {
  std::vector<int> read(static_cast<std::size_t>(count));
  download(queue, read.data(), flags, read.size() * sizeof(int));
  return read;
}

/// Eigenvalues and vectors of the Gram matrices of a batch, whose places in `kept` follow each other.
void find_eigenvectors(Queue<D>& queue, TilesToFactorize tiles, const Batch& batch, double* kept, int* info) {
  const index_t n = batch.n();
  double* lambda = kept + batch.forms.front().lambda;
  double* gram = lambda + batch.size() * n;
  const double* x = widen(queue, tiles, batch);
  std::vector<Product<D>> products;
  for (index_t m = 0; m < batch.size(); ++m) {
    const MatrixView<const double, D> a{x + m * batch.h * batch.w, batch.h, batch.w};
    products.push_back({a, a, {gram + m * n * n, n, n}});
  }
  const bool is_transposed = batch.is_transposed();
  multiply<D>(queue, 1, is_transposed ? Transpose::no : Transpose::yes, is_transposed ? Transpose::yes : Transpose::no,
              0, products);
  library_eigenvectors(queue, n, batch.size(), gram, lambda, info);
}

/// Finds vectors first … first + 127 of the tiles that want more than `first`.
void find_panel(Queue<D>& queue, const Batch& batch, const std::vector<GramTile>& all, const double* kept,
                const double* x, index_t first) {
  const index_t n = batch.n(), width = std::min<index_t>(GramVectors::panel, n - first);
  auto* w = queue.resources().workspace<double>(Workspace::tile_space, batch.size() * width * batch.depth());
  std::vector<Product<D>> products;
  std::vector<GramPanel> panels;
  for (index_t m = 0; m < batch.size(); ++m) {
    const GramTile& tile = all[static_cast<std::size_t>(m)];
    if (tile.wanted <= first) continue;
    const double* z = kept + batch.forms[static_cast<std::size_t>(m)].vectors + (n - first - width) * n;
    products.push_back({{z, width, n}, {x + m * batch.h * batch.w, batch.h, batch.w}, {w, width, batch.depth()}});
    panels.push_back({tile, z, w, static_cast<int>(first), static_cast<int>(width)});
    w += width * batch.depth();
  }
  // Wᵀ = Zᵀ Xᵀ
  multiply<D>(queue, 1, Transpose::no, batch.is_transposed() ? Transpose::no : Transpose::yes, 0, products);
  launch(queue, GramVectors{listed(queue, panels), std::ssize(panels)});
}

void complete_vectors(Queue<D>& queue, const std::vector<GramTile>& tiles) {
  index_t numbers = 0;
  for (const GramTile& tile : tiles) numbers += tile.depth + tile.wanted;
  auto* space = queue.resources().workspace<double>(Workspace::tile_space, numbers);
  std::vector<SmallVectors> list;
  for (const GramTile& tile : tiles) {
    list.push_back({tile, space, space + tile.depth});
    space += tile.depth + tile.wanted;
  }
  launch(queue, CompleteVectors{listed(queue, list), std::ssize(list)});
}

}  // namespace

index_t gram_kept_size(TilesToFactorize tiles, const TileIndices& numbers) {
  index_t size = 0;
  for (const std::size_t t : numbers) {
    const index_t n = std::min(tiles[t].rows, tiles[t].cols);
    size += n * (n + 1);
  }
  return size;
}

/// tile_space holds a panel of W, and later the working memory of CompleteVectors.
index_t gram_scratch_bytes(index_t h, index_t w, index_t k) {
  const index_t n = std::min(h, w), depth = std::max(h, w);
  return 8 * h * w + (k > 0 ? 8 * std::max(std::min<index_t>(GramVectors::panel, n) * depth, depth + k) : 0);
}

GramSpectraFound find_gram_spectra(Queue<D>& queue, TilesToFactorize tiles, FactorizedTiles out,
                                   const TileIndices& numbers, double* kept) {
  GramSpectraFound found;
  if (numbers.empty()) return found;
  index_t used = 0;
  for (Batch& batch : batches_of(tiles, find_exponents(queue, tiles, out, numbers))) {
    const index_t n = batch.n();
    for (index_t m = 0; m < batch.size(); ++m) {
      GramForm& form = batch.forms[static_cast<std::size_t>(m)];
      form.lambda = used + m * n;
      form.vectors = used + batch.size() * n + m * n * n;
    }
    used += batch.size() * n * (n + 1);
    int* info = queue.resources().workspace<int>(Workspace::results, batch.size());
    find_eigenvectors(queue, tiles, batch, kept, info);
    int* flags = clear_flags(queue, batch.size());
    std::vector<GramTile> list;
    for (index_t m = 0; m < batch.size(); ++m) {
      const GramForm& form = batch.forms[static_cast<std::size_t>(m)];
      list.push_back(tile_of(batch, form, out[form.tile], kept, flags + m));
    }
    launch(queue, GramSpectra{listed(queue, list), std::ssize(list)});
    const std::vector<int> not_converged = read_flags(queue, info, batch.size());
    const std::vector<int> out_of_range = read_flags(queue, flags, batch.size());
    for (std::size_t m = 0; m < batch.forms.size(); ++m) {
      const GramForm& form = batch.forms[m];
      if (not_converged[m] != 0) {
        found.failed.push_back(form.tile);
      } else if (out_of_range[m] != 0) {
        out[form.tile].status = SvdStatus::not_finite;
      } else {
        found.forms.push_back(form);
      }
    }
  }
  return found;
}

TileIndices find_gram_vectors(Queue<D>& queue, TilesToFactorize tiles, FactorizedTiles out,
                              std::span<const GramForm> forms, const double* kept) {
  std::vector<GramForm> wanted;
  for (const GramForm& form : forms) {
    if (out[form.tile].status == SvdStatus::ok && out[form.tile].vt.rows > 0) wanted.push_back(form);
  }
  TileIndices failed;
  for (const Batch& batch : batches_of(tiles, wanted)) {
    const double* x = widen(queue, tiles, batch);
    int* flags = clear_flags(queue, batch.size());
    std::vector<GramTile> list;
    int most = 0;
    for (index_t m = 0; m < batch.size(); ++m) {
      const GramForm& form = batch.forms[static_cast<std::size_t>(m)];
      list.push_back(tile_of(batch, form, out[form.tile], kept, flags + m));
      most = std::max(most, list.back().wanted);
    }
    for (index_t first = 0; first < most; first += GramVectors::panel) {
      find_panel(queue, batch, list, kept, x, first);
    }
    complete_vectors(queue, list);
    const std::vector<int> failures = read_flags(queue, flags, batch.size());
    for (std::size_t m = 0; m < batch.forms.size(); ++m) {
      if (failures[m] != 0) failed.push_back(batch.forms[m].tile);
    }
  }
  return failed;
}

}  // namespace hack::kernels::cuda
