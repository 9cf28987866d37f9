#include "svd/tile/tile_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <omp.h>

#include "kernels/buffer.hpp"
#include "kernels/error.hpp"
#include "svd/tile/int8_rows.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "svd/tile/interpolative_rounder.hpp"
#include "svd/tile/interpolative_tiles.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

using kernels::InterpolativeStatus;
using kernels::InterpolativeTile;
using kernels::Structure;

/// A tile on its way into a part.
struct Item {
  Tile at;
  TileChoice choice;
  const TileNumbers& numbers;
  InterpolativeNumbers interpolative;  // of an interpolative tile
  Int8Rows u;                          // these two of int8 alone
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

/// Finds the skeleton rows of those items that lack them; what is returned outlives their use.
InterpolativeTiles<Device::cpu> find_missing(Queue<Device::cpu>& queue, std::vector<Item>& items) {
  std::vector<InterpolativeTile<Device::cpu>> tiles;
  std::vector<Item*> owners;
  for (Item& item : items) {
    if (item.choice.kind != Structure::interpolative || item.interpolative.marks != nullptr) continue;
    InterpolativeTile<Device::cpu>& tile = tiles.emplace_back();
    tile.u = item.left();
    tile.sigma = item.numbers.sigma;
    tile.vt = item.right();
    owners.push_back(&item);
  }
  InterpolativeTiles<Device::cpu> found(queue, std::move(tiles));
  for (std::size_t t = 0; t < owners.size(); ++t) owners[t]->interpolative = found[t];
  return found;
}

void expect_interpolation(const MatrixPart& part, const std::vector<Item>& items) {
  for (const Item& item : items) {
    validate(item.interpolative.status == InterpolativeStatus::ok,
             "tensor {}, tile ({}, {}) has no skeleton (its factors hold NaN or infinity); check the checkpoint",
             part.name, item.at.i, item.at.j);
  }
}

/// What one thread needs to round tiles to 8-bit integers.
struct RoundingSpace {
  InterpolativeRounder interpolative;
  std::vector<double> columns;  // (w) weights
  std::vector<double> ranks;    // (k) likewise

  void reserve(const Item& item) {
    const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
    columns.reserve(static_cast<std::size_t>(w));
    ranks.reserve(static_cast<std::size_t>(k));
    if (item.choice.kind == Structure::interpolative) interpolative.reserve(h, w, k);
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
    case Structure::dense:
      round_rows(item.numbers.values, columns, item.u);
      break;
    case Structure::low_rank:
      round_rows(item.right(), columns, item.v);
      weigh(item.right(), columns, space.ranks);
      for (std::size_t l = 0; l < space.ranks.size(); ++l) {
        space.ranks[l] *= double{item.numbers.sigma[l]} * item.numbers.sigma[l];
      }
      round_rows(item.left(), space.ranks, item.u);
      break;
    case Structure::interpolative:
      space.interpolative.round(item.interpolative.skeleton, item.interpolative.coefficients, columns, item.u, item.v);
      break;
  }
}

/// Rounds items to 8-bit integers.
void round(Queue<Device::cpu>& queue, std::vector<Item>& items) {
  kernels::hold_blas_to_one_thread();
  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  std::vector<RoundingSpace> spaces(static_cast<std::size_t>(queue.threads()));
  for (Item& item : items) {
    const Structure kind = item.choice.kind;
    const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
    HACK_EXPECT(item.numbers.column_weights.empty() || std::ssize(item.numbers.column_weights) == w);
    item.u = Int8Rows(u_rows(kind, h, k), kind == Structure::dense ? w : k);
    item.v = Int8Rows(v_rows(kind, k), w);
    for (RoundingSpace& space : spaces) space.reserve(item);
  }
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (Item& item : items) round_one(item, spaces[static_cast<std::size_t>(omp_get_thread_num())]);
}

void check(const MatrixPart& part, const Item& item, FactorType type) {
  switch (item.choice.kind) {
    case Structure::dense:
      expect_fit(item.numbers.values, part, item.at, type);
      break;
    case Structure::low_rank:
      expect_fit(item.left(), part, item.at, type);
      expect_fit(item.right(), part, item.at, type);
      break;
    case Structure::interpolative:
      expect_fit(item.interpolative.skeleton, part, item.at, type);
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
  } else if (item.choice.kind == Structure::dense) {
    append_numbers(part.u, numbers.values, type.widened());
  } else {
    const bool is_interpolative = item.choice.kind == Structure::interpolative;
    append_numbers(part.u, is_interpolative ? item.interpolative.coefficients : item.left(), type.widened());
    append_numbers(part.v, is_interpolative ? item.interpolative.skeleton : item.right(), type.widened());
  }
  const std::uint8_t* marks = item.interpolative.marks;
  part.skeleton.insert(part.skeleton.end(), marks, marks + interpolation_bytes(item.choice.kind, h, k));
  part.tiles.push_back(item.choice);
  if (!part.has_spectra) return;
  HACK_EXPECT(std::ssize(numbers.spectrum) <= item.at.full_rank());
  HACK_EXPECT(item.choice.kind != Structure::low_rank || std::ssize(numbers.spectrum) >= k);
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
      items.push_back({part.grid.tile(number), choices[t], numbers[t], numbers[t].interpolative, {}, {}});
    }
    const InterpolativeTiles<Device::cpu> found = find_missing(queue, items);
    expect_interpolation(part, items);
    for (const Item& item : items) check(part, item, type);
    if (type.has_scales()) round(queue, items);
    for (const Item& item : items) append(part, item, type);
  }
}

}  // namespace hack::svd
