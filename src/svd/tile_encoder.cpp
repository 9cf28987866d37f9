#include "svd/tile_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/error.hpp"
#include "kernels/pivot.hpp"
#include "svd/storage.hpp"

namespace hack::svd {
namespace {

using kernels::PivotStatus;
using kernels::TileKind;

/// A tile on its way into a part.
struct Item {
  Tile at;
  TileChoice choice;
  const TileNumbers& numbers;
  Buffer<std::uint8_t> marks;  // (mark_bytes(h)); these three of pivoted tiles alone
  Buffer<float> pivots;        // (k, w)
  Buffer<float> coefficients;  // (h - k, k)
};

/// Appends f32 numbers, converted.
void append_numbers(std::vector<std::byte>& to, MatrixView<const float> from, DType type) {
  if (from.rows * from.cols == 0) return;
  const index_t row_bytes = from.cols * size_of(type);
  const std::size_t begin = to.size();
  to.resize(begin + static_cast<std::size_t>(from.rows * row_bytes));
  for (index_t i = 0; i < from.rows; ++i) {
    convert(from.row(i), DType::f32, to.data() + begin + i * row_bytes, type, from.cols);
  }
}

/// Whether every number is still finite in `type`.
bool fits(MatrixView<const float> x, DType type) {
  const float limit = type == DType::f16 ? 65504.0f : 0x1.fep127f;  // largest f16; largest bf16
  if (type == DType::f32) return true;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) {
      if (std::fabs(x(i, j)) > limit) return false;
    }
  }
  return true;
}

void expect_fit(MatrixView<const float> x, const MatrixPart& part, const Tile& at, DType type) {
  validate(fits(x, type),
           "tensor {}, tile ({}, {}) does not fit {} (a number is too large); use "
           "--factor-type bf16 or f32",
           part.name, at.i, at.j, to_string(type));
}

/// Finds the pivots of those items that are stored by them.
void pivot(Queue<Device::cpu>& queue, const MatrixPart& part, std::vector<Item>& items) {
  std::vector<kernels::PivotedTile<Device::cpu>> tiles;
  std::vector<std::size_t> owners;
  for (std::size_t t = 0; t < items.size(); ++t) {
    Item& item = items[t];
    if (item.choice.kind != TileKind::pivoted) continue;
    const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
    item.marks = Buffer<std::uint8_t>(kernels::mark_bytes(h));
    item.pivots = Buffer<float>(k * w);
    item.coefficients = Buffer<float>((h - k) * k);
    const MatrixView<const float> u = item.numbers.u, vt = item.numbers.vt;
    tiles.push_back({{u.data, h, k, u.ld},
                     item.numbers.sigma,
                     {vt.data, k, w, vt.ld},
                     item.marks.data(),
                     {item.pivots.data(), k, w},
                     {item.coefficients.data(), h - k, k}});
    owners.push_back(t);
  }
  kernels::pivot_tiles<Device::cpu>(queue, tiles);
  for (std::size_t p = 0; p < tiles.size(); ++p) {
    const Tile& at = items[owners[p]].at;
    validate(tiles[p].status == PivotStatus::ok,
             "tensor {}, tile ({}, {}) has no pivots (its factors hold NaN or infinity); check the checkpoint",
             part.name, at.i, at.j);
  }
}

void append(MatrixPart& part, const Item& item, DType type) {
  const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
  const TileNumbers& numbers = item.numbers;
  switch (item.choice.kind) {
    case TileKind::dense:
      expect_fit(numbers.values, part, item.at, type);
      append_numbers(part.u, numbers.values, type);
      break;
    case TileKind::factors:
      append_numbers(part.u, {numbers.u.data, h, k, numbers.u.ld}, type);
      append_numbers(part.v, {numbers.vt.data, k, w, numbers.vt.ld}, type);
      break;
    case TileKind::pivoted:
      const MatrixView<const float> pivots{item.pivots.data(), k, w};
      expect_fit(pivots, part, item.at, type);
      append_numbers(part.u, {item.coefficients.data(), h - k, k}, type);
      append_numbers(part.v, pivots, type);
      part.pivots.insert(part.pivots.end(), item.marks.data(),
                         item.marks.data() + pivot_bytes(TileKind::pivoted, h, k));
      break;
  }
  part.tiles.push_back(item.choice);
  if (!part.has_spectra) return;
  HACK_EXPECT(std::ssize(numbers.spectrum) <= item.at.full_rank());
  HACK_EXPECT(item.choice.kind != TileKind::factors || std::ssize(numbers.spectrum) >= k);
  part.spectra.insert(part.spectra.end(), numbers.spectrum.begin(), numbers.spectrum.end());
  part.spectra.resize(part.tiles.size() * static_cast<std::size_t>(part.grid.max_rank()), 0.0f);
}

}  // namespace

void append_tiles(Queue<Device::cpu>& queue, MatrixPart& part, std::span<const TileChoice> choices,
                  std::span<const TileNumbers> numbers, DType type) {
  HACK_EXPECT(choices.size() == numbers.size());
  const std::size_t step = 32 * static_cast<std::size_t>(queue.threads());
  for (std::size_t first = 0; first < choices.size(); first += step) {
    std::vector<Item> items;
    for (std::size_t t = first; t < std::min(first + step, choices.size()); ++t) {
      const index_t number = part.first_tile + std::ssize(part.tiles) + static_cast<index_t>(t - first);
      items.push_back({part.grid.tile(number), choices[t], numbers[t], {}, {}, {}});
    }
    pivot(queue, part, items);
    for (const Item& item : items) append(part, item, type);
  }
}

}  // namespace hack::svd
