#include "svd/tile/stored_tile.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"
#include "kernels/row_marks.hpp"
#include "svd/tile/int8_rows.hpp"

namespace hack::svd {
namespace {

/// What a tile's numbers stand for: themselves, or integers times scales as f32.
std::vector<std::byte> widened(std::span<const std::byte> numbers, std::span<const bf16> scales, const Tile& at) {
  if (scales.empty()) return {numbers.begin(), numbers.end()};
  for (bf16 s : scales) {
    validate(std::isfinite(to_float(s)) && to_float(s) >= 0, "a scale of tile ({}, {}) is {}", at.i, at.j, to_float(s));
  }
  std::vector<std::byte> out(numbers.size() * sizeof(float));
  const auto rows = std::ssize(scales);
  widen_rows(reinterpret_cast<const std::int8_t*>(numbers.data()), scales.data(),
             {reinterpret_cast<float*>(out.data()), rows, std::ssize(numbers) / rows});
  return out;
}

}  // namespace

StoredTile decode_tile(const Tile& at, kernels::Structure kind, std::int32_t rank, const TileBytes& bytes) {
  StoredTile tile{
      .kind = kind, .rank = rank, .u = widened(bytes.u, bytes.u_scales, at), .v = widened(bytes.v, bytes.v_scales, at)};
  const std::size_t kept = std::min(bytes.spectrum.size(), static_cast<std::size_t>(rank));
  tile.sigma.assign(bytes.spectrum.begin(), bytes.spectrum.begin() + static_cast<std::ptrdiff_t>(kept));
  for (float s : tile.sigma) {
    validate(std::isfinite(s) && s >= 0, "a singular value of tile ({}, {}) is {}", at.i, at.j, s);
  }
  if (kind != kernels::Structure::interpolative) return tile;
  for (index_t row = 0; row < at.height; ++row) {
    // Without marks none of the rows is a skeleton row or all are.
    const bool is_skeleton = bytes.skeleton.empty() ? rank > 0 : kernels::is_marked(bytes.skeleton.data(), row);
    if (is_skeleton) tile.skeleton.push_back(row);
  }
  return tile;
}

}  // namespace hack::svd
