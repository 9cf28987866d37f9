#include "jobs/compression/archive_glance.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include <fmt/core.h>

#include "svd/tile/storage.hpp"

namespace hack::jobs {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Compares runs of digits by the numbers that they are.
bool is_before(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    if (is_digit(a.front()) && is_digit(b.front())) {
      long x = 0, y = 0;
      a.remove_prefix(static_cast<std::size_t>(std::from_chars(a.data(), a.data() + a.size(), x).ptr - a.data()));
      b.remove_prefix(static_cast<std::size_t>(std::from_chars(b.data(), b.data() + b.size(), y).ptr - b.data()));
      if (x != y) return x < y;
      continue;
    }
    if (a.front() != b.front()) return a.front() < b.front();
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.size() < b.size();
}

double root_of_share(double discarded, double energy) {
  return energy > 0 ? std::sqrt(std::max(0.0, discarded) / energy) : 0;
}

}  // namespace

std::vector<std::string> in_natural_order(std::vector<std::string> names) {
  std::stable_sort(names.begin(), names.end(), is_before);
  return names;
}

int layer_of(const std::string& name) {
  const std::size_t at = name.find("layers.");
  int layer = -1;
  if (at != std::string::npos) std::from_chars(name.data() + at + 7, name.data() + name.size(), layer);
  return layer;
}

std::string bar(double share, int width) {
  const double full = std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * width;
  std::string text;
  for (int i = 0; i < width; ++i) text += i + 0.5 <= full ? "█" : "░";
  return text;
}

double LayerGlance::relative_error() const { return root_of_share(discarded, energy); }

std::string words_of(const svd::TermEntry& term) {
  return fmt::format("{} {}", svd::to_string(term.structure), to_string(term.codec));
}

std::vector<LayerGlance> glance_at_layers(const svd::FactorArchive& archive) {
  std::map<int, LayerGlance> layers;
  for (const std::string& name : archive.matrices()) {
    const svd::MatrixTable& entry = archive.matrix(name);
    LayerGlance& layer = layers[layer_of(name)];
    layer.layer = layer_of(name);
    layer.bytes += static_cast<double>(entry.bytes_factors);
    layer.bytes_dense += static_cast<double>(entry.bytes_dense);
    layer.tiles += static_cast<double>(entry.grid.size());
    for (index_t t = 0; t < entry.grid.size(); ++t) {
      layer.ranks += static_cast<double>(entry.rank(t));
      layer.energy += entry.energies[static_cast<std::size_t>(t)];
      layer.discarded += entry.discarded[static_cast<std::size_t>(t)];
    }
    for (const svd::TermEntry& term : entry.terms) ++layer.terms[words_of(term)];
  }
  std::vector<LayerGlance> all;
  for (auto& [number, layer] : layers) all.push_back(std::move(layer));
  return all;
}

std::vector<TileGlance> worst_tiles(const svd::FactorArchive& archive, std::size_t most) {
  std::vector<TileGlance> tiles;
  double discarded = 0;
  const auto is_worse = [](const TileGlance& a, const TileGlance& b) { return a.relative_error > b.relative_error; };
  for (const std::string& name : in_natural_order(archive.matrices())) {
    const svd::MatrixTable& entry = archive.matrix(name);
    const index_t columns = (entry.grid.cols() + entry.grid.tile(0).width - 1) / entry.grid.tile(0).width;
    for (index_t t = 0; t < entry.grid.size(); ++t) {
      const auto at = static_cast<std::size_t>(t);
      discarded += entry.discarded[at];
      tiles.push_back({name, t / columns, t % columns, entry.rank(t),
                       root_of_share(entry.discarded[at], entry.energies[at]), entry.discarded[at]});
    }
    std::stable_sort(tiles.begin(), tiles.end(), is_worse);
    tiles.resize(std::min(tiles.size(), most));
  }
  for (TileGlance& tile : tiles) tile.share = discarded > 0 ? tile.share / discarded : 0;
  return tiles;
}

}  // namespace hack::jobs
