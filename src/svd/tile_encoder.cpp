#include "svd/tile_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <omp.h>

#include "kernels/buffer.hpp"
#include "kernels/error.hpp"
#include "svd/int8_rows.hpp"
#include "kernels/cpu/linear_algebra.hpp"
#include "svd/pivot_rounder.hpp"
#include "svd/pivoted_tiles.hpp"
#include "svd/storage.hpp"

namespace hack::svd {
namespace {

using kernels::PivotedTile;
using kernels::PivotStatus;
using kernels::TileKind;

/// A tile on its way into a part.
struct Item {
  Tile at;
  TileChoice choice;
  const TileNumbers& numbers;
  PivotedNumbers pivoted;  // of a pivoted tile
  Int8Rows u;              // these two of int8 alone
  Int8Rows v;

  MatrixView<const float> left() const { return {numbers.u.data, at.height, choice.rank, numbers.u.ld}; }
  MatrixView<const float> right() const { return {numbers.vt.data, choice.rank, at.width, numbers.vt.ld}; }
};

/// Whether every number is still finite in `type`.
bool fits(MatrixView<const float> x, FactorType type) {
  if (type == DType::f32) return true;
  // The largest f16; the largest bf16; room for a scale of int8 rounded up.
  const float limit = type == DType::f16 ? 65504.0f : type == DType::bf16 ? 0x1.fep127f : 0x1p127f;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) {
      if (!(std::fabs(x(i, j)) <= limit)) return false;
    }
  }
  return true;
}

void expect_fit(MatrixView<const float> x, const MatrixPart& part, const Tile& at, FactorType type) {
  validate(fits(x, type),
           "tensor {}, tile ({}, {}) does not fit {} (a number is too large or not finite); use "
           "--factor-type bf16 or f32",
           part.name, at.i, at.j, to_string(type));
}

/// Finds the pivots of those items that lack them; what is returned outlives their use.
PivotedTiles<Device::cpu> find_missing(Queue<Device::cpu>& queue, std::vector<Item>& items) {
  std::vector<PivotedTile<Device::cpu>> tiles;
  std::vector<Item*> owners;
  for (Item& item : items) {
    if (item.choice.kind != TileKind::pivoted || item.pivoted.marks != nullptr) continue;
    PivotedTile<Device::cpu>& tile = tiles.emplace_back();
    tile.u = item.left();
    tile.sigma = item.numbers.sigma;
    tile.vt = item.right();
    owners.push_back(&item);
  }
  PivotedTiles<Device::cpu> found(queue, std::move(tiles));
  for (std::size_t t = 0; t < owners.size(); ++t) owners[t]->pivoted = found[t];
  return found;
}

void expect_pivots(const MatrixPart& part, const std::vector<Item>& items) {
  for (const Item& item : items) {
    validate(item.pivoted.status == PivotStatus::ok,
             "tensor {}, tile ({}, {}) has no pivots (its factors hold NaN or infinity); check the checkpoint",
             part.name, item.at.i, item.at.j);
  }
}

/// What one thread needs to round tiles to 8-bit integers.
struct RoundingSpace {
  PivotRounder pivoted;
  std::vector<double> columns;  // (w) weights
  std::vector<double> ranks;    // (k) likewise

  void reserve(const Item& item) {
    const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
    columns.reserve(static_cast<std::size_t>(w));
    ranks.reserve(static_cast<std::size_t>(k));
    if (item.choice.kind == TileKind::pivoted) pivoted.reserve(h, w, k);
  }
};

/// What a squared error in a coefficient of each row costs: Σ_c weights_c x_kc².
void weigh(MatrixView<const float> rows, std::span<const double> weights, std::vector<double>& out) {
  out.assign(static_cast<std::size_t>(rows.rows), 0.0);
  for (index_t k = 0; k < rows.rows; ++k) {
    double& sum = out[static_cast<std::size_t>(k)];
    for (index_t c = 0; c < rows.cols; ++c) sum += weights[static_cast<std::size_t>(c)] * rows(k, c) * rows(k, c);
  }
}

void round_one(Item& item, RoundingSpace& space) {
  std::span<const double> columns = item.numbers.column_weights;
  if (columns.empty()) {
    space.columns.assign(static_cast<std::size_t>(item.at.width), 1.0);
    columns = space.columns;
  }
  switch (item.choice.kind) {
    case TileKind::dense:
      round_rows(item.numbers.values, columns, item.u);
      break;
    case TileKind::factors:
      round_rows(item.right(), columns, item.v);
      weigh(item.right(), columns, space.ranks);
      for (std::size_t l = 0; l < space.ranks.size(); ++l) {
        space.ranks[l] *= double{item.numbers.sigma[l]} * item.numbers.sigma[l];
      }
      round_rows(item.left(), space.ranks, item.u);
      break;
    case TileKind::pivoted:
      space.pivoted.round(item.pivoted.pivots, item.pivoted.coefficients, columns, item.u, item.v);
      break;
  }
}

/// Rounds items to 8-bit integers.
void round(Queue<Device::cpu>& queue, std::vector<Item>& items) {
  kernels::hold_blas_to_one_thread();
  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  std::vector<RoundingSpace> spaces(static_cast<std::size_t>(queue.threads()));
  for (Item& item : items) {
    const TileKind kind = item.choice.kind;
    const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
    HACK_EXPECT(item.numbers.column_weights.empty() || std::ssize(item.numbers.column_weights) == w);
    item.u = Int8Rows(u_rows(kind, h, k), kind == TileKind::dense ? w : k);
    item.v = Int8Rows(v_rows(kind, k), w);
    for (RoundingSpace& space : spaces) space.reserve(item);
  }
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (Item& item : items) round_one(item, spaces[static_cast<std::size_t>(omp_get_thread_num())]);
}

void check(const MatrixPart& part, const Item& item, FactorType type) {
  switch (item.choice.kind) {
    case TileKind::dense:
      expect_fit(item.numbers.values, part, item.at, type);
      break;
    case TileKind::factors:
      expect_fit(item.left(), part, item.at, type);
      expect_fit(item.right(), part, item.at, type);
      break;
    case TileKind::pivoted:
      expect_fit(item.pivoted.pivots, part, item.at, type);
      break;
  }
}

/// Appends `count` numbers or scales as they are.
template <class To, class From>
void append_plain(std::vector<To>& to, const Buffer<From>& from) {
  const auto* first = reinterpret_cast<const To*>(from.data());
  to.insert(to.end(), first, first + from.size());
}

void append(MatrixPart& part, const Item& item, FactorType type) {
  const TileNumbers& numbers = item.numbers;
  const index_t h = item.at.height, k = item.choice.rank;
  if (type.has_scales()) {
    append_plain(part.u, item.u.numbers);
    append_plain(part.v, item.v.numbers);
    append_plain(part.u_scales, item.u.scales);
    append_plain(part.v_scales, item.v.scales);
  } else if (item.choice.kind == TileKind::dense) {
    append_numbers(part.u, numbers.values, type.widened());
  } else {
    const bool is_pivoted = item.choice.kind == TileKind::pivoted;
    append_numbers(part.u, is_pivoted ? item.pivoted.coefficients : item.left(), type.widened());
    append_numbers(part.v, is_pivoted ? item.pivoted.pivots : item.right(), type.widened());
  }
  const std::uint8_t* marks = item.pivoted.marks;
  part.pivots.insert(part.pivots.end(), marks, marks + pivot_bytes(item.choice.kind, h, k));
  part.tiles.push_back(item.choice);
  if (!part.has_spectra) return;
  HACK_EXPECT(std::ssize(numbers.spectrum) <= item.at.full_rank());
  HACK_EXPECT(item.choice.kind != TileKind::factors || std::ssize(numbers.spectrum) >= k);
  part.spectra.insert(part.spectra.end(), numbers.spectrum.begin(), numbers.spectrum.end());
  part.spectra.resize(part.tiles.size() * static_cast<std::size_t>(part.grid.max_rank()), 0.0f);
}

}  // namespace

void reserve_tiles(MatrixPart& part, std::span<const TileChoice> choices, FactorType type) {
  index_t u = 0, v = 0;
  for (std::size_t t = 0; t < choices.size(); ++t) {
    const Tile at = part.grid.tile(part.first_tile + std::ssize(part.tiles) + static_cast<index_t>(t));
    u += u_size(choices[t].kind, at.height, at.width, choices[t].rank) * size_of(type);
    v += v_size(choices[t].kind, at.width, choices[t].rank) * size_of(type);
  }
  part.u.reserve(part.u.size() + static_cast<std::size_t>(u));
  part.v.reserve(part.v.size() + static_cast<std::size_t>(v));
  if (part.has_spectra) {
    part.spectra.reserve(part.spectra.size() + choices.size() * static_cast<std::size_t>(part.grid.max_rank()));
  }
}

void append_numbers(std::vector<std::byte>& to, MatrixView<const float> x, DType type) {
  if (x.rows * x.cols == 0) return;
  const index_t row_bytes = x.cols * size_of(type);
  const std::size_t begin = to.size();
  to.resize(begin + static_cast<std::size_t>(x.rows * row_bytes));
  for (index_t i = 0; i < x.rows; ++i) {
    convert(x.row(i), DType::f32, to.data() + begin + i * row_bytes, type, x.cols);
  }
}

void append_tiles(Queue<Device::cpu>& queue, MatrixPart& part, std::span<const TileChoice> choices,
                  std::span<const TileNumbers> numbers, FactorType type) {
  HACK_EXPECT(choices.size() == numbers.size());
  const std::size_t step = 32 * static_cast<std::size_t>(queue.threads());
  for (std::size_t first = 0; first < choices.size(); first += step) {
    std::vector<Item> items;
    for (std::size_t t = first; t < std::min(first + step, choices.size()); ++t) {
      const index_t number = part.first_tile + std::ssize(part.tiles) + static_cast<index_t>(t - first);
      items.push_back({part.grid.tile(number), choices[t], numbers[t], numbers[t].pivoted, {}, {}});
    }
    const PivotedTiles<Device::cpu> found = find_missing(queue, items);
    expect_pivots(part, items);
    for (const Item& item : items) check(part, item, type);
    if (type.has_scales()) round(queue, items);
    for (const Item& item : items) append(part, item, type);
  }
}

}  // namespace hack::svd
