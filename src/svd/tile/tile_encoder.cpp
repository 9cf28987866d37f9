#include "svd/tile/tile_encoder.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include <omp.h>

#include "io/digest.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "kernels/error.hpp"
#include "svd/tile/encode_rows.hpp"
#include "svd/tile/encoded_term.hpp"
#include "svd/tile/int8_rows.hpp"
#include "svd/tile/interpolative_rounder.hpp"
#include "svd/tile/interpolative_tiles.hpp"

namespace hack::svd {
namespace {

using kernels::InterpolativeStatus;
using kernels::InterpolativeTile;

/// A tile on its way into a part.
struct Item {
  index_t number;
  Tile at;
  TileChoice choice;
  const TileNumbers& numbers;
  InterpolativeNumbers interpolative;  // of an interpolative tile
  EncodedTerm encoded;

  TermArrays arrays(Codec codec) const { return {choice.kind, codec, at.height, at.width, choice.rank}; }
  MatrixView<const float> left() const { return {numbers.u.data, at.height, choice.rank, numbers.u.ld}; }
  MatrixView<const float> right() const { return {numbers.vt.data, choice.rank, at.width, numbers.vt.ld}; }

  /// The numbers of each encoded array, in the order of TermArrays.
  std::vector<MatrixView<const float>> sources() const {
    switch (choice.kind) {
      case Structure::dense:
        return {numbers.values};
      case Structure::low_rank:
        return {left(), right()};
      case Structure::interpolative:
        return {interpolative.coefficients, interpolative.skeleton};
    }
    return {};
  }
};

/// Finds the skeletons of those items that lack them; what is returned outlives their use.
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

void check(const MatrixPart& part, const Item& item, Codec codec) {
  validate(item.interpolative.status == InterpolativeStatus::ok,
           "tensor {}, tile ({}, {}) has no skeleton (its factors hold NaN or infinity); check the checkpoint",
           part.name, item.at.i, item.at.j);
  for (const MatrixView<const float>& source : item.sources()) {
    validate(fits(source, codec),
             "tensor {}, tile ({}, {}) does not fit {} (a number is too large or not finite); store it as bf16 or f32",
             part.name, item.at.i, item.at.j, to_string(codec));
  }
}

/// What one thread needs to encode tiles.
struct EncodingSpace {
  InterpolativeRounder interpolative;
  std::optional<BlockGrid> blocks;  // of tiles whose codes have been found
  std::vector<double> columns;      // (w) weights
  std::vector<double> ranks;        // (k) weights

  void reserve(const Item& item, Codec codec) {
    const index_t h = item.at.height, w = item.at.width, k = item.choice.rank;
    columns.reserve(static_cast<std::size_t>(w));
    ranks.reserve(static_cast<std::size_t>(k));
    if (item.choice.kind == Structure::interpolative) interpolative.reserve(h, w, k);
    if (item.numbers.codes.codes != nullptr && !blocks) blocks.emplace(codec);
  }
};

/// What a squared error in a number of rank l costs: Σ_c weights_c x_lc², times sigma_l² where there is a sigma.
void weigh(MatrixView<const float> rows, std::span<const double> weights, const float* sigma,
           std::vector<double>& out) {
  out.assign(static_cast<std::size_t>(rows.rows), 0.0);
  for (index_t l = 0; l < rows.rows; ++l) {
    double& sum = out[static_cast<std::size_t>(l)];
    for (index_t c = 0; c < rows.cols; ++c) sum += weights[static_cast<std::size_t>(c)] * rows(l, c) * rows(l, c);
    if (sigma != nullptr) sum *= double{sigma[l]} * sigma[l];
  }
}

Int8Rows int8_rows(EncodedTerm& term, std::size_t a) {
  return {reinterpret_cast<std::int8_t*>(term.codes(a)), reinterpret_cast<bf16*>(term.scales(a))};
}

/// Packs codes that have been found. What pads the last block of a row is nearest to zero.
void pack(const Item& item, Codec codec, const BlockGrid& grid, std::byte* codes, std::byte* scales) {
  const CodecSpec& spec = spec_of(codec);
  const TileCodes& from = item.numbers.codes;
  std::array<std::uint8_t, 64> block{};
  for (index_t r = 0; r < item.at.height; ++r) {
    for (index_t first = 0, b = 0; first < item.at.width; first += spec.block, ++b) {
      const index_t count = std::min(spec.block, item.at.width - first);
      const BlockScale& scale = from.scales[r * from.scales_ld + b];
      block.fill(static_cast<std::uint8_t>(grid.code_of(0, scale)));
      std::copy_n(from.codes + r * from.ld + first, count, block.begin());
      pack_block(codec, block.data(), scale.scale, scale.minimum, codes, scales);
      codes += spec.block * spec.code_bits / 8;
      scales += spec.scale_bytes;
    }
  }
}

/// Encodes the arrays that hold numbers of the matrix: all of a dense tile, the first two of the others.
void encode_numbers(Item& item, std::span<const double> columns, Codec codec, EncodingSpace& space) {
  const auto encode = [&](std::size_t a, MatrixView<const float> source, std::span<const double> weights) {
    encode_rows(codec, source, weights, item.encoded.codes(a), item.encoded.scales(a));
  };
  switch (item.choice.kind) {
    case Structure::dense:
      if (item.numbers.codes.codes != nullptr) {
        pack(item, codec, *space.blocks, item.encoded.codes(0), item.encoded.scales(0));
      } else {
        encode(0, item.numbers.values, columns);
      }
      break;
    case Structure::low_rank:
      encode(1, item.right(), columns);
      weigh(item.right(), columns, item.numbers.sigma, space.ranks);
      encode(0, item.left(), space.ranks);
      break;
    case Structure::interpolative:
      if (codec == Codec::int8) {
        space.interpolative.round(item.interpolative.skeleton, item.interpolative.coefficients, columns,
                                  int8_rows(item.encoded, 0), int8_rows(item.encoded, 1));
      } else {
        encode(1, item.interpolative.skeleton, columns);
        weigh(item.interpolative.skeleton, columns, nullptr, space.ranks);
        encode(0, item.interpolative.coefficients, space.ranks);
      }
      break;
  }
}

/// Does not throw: what may fail has been allocated.
void encode_one(Item& item, Codec codec, EncodingSpace& space) {
  std::span<const double> columns = item.numbers.column_weights;
  if (columns.empty()) {
    space.columns.assign(static_cast<std::size_t>(item.at.width), 1.0);
    columns = space.columns;
  }
  encode_numbers(item, columns, codec, space);
  const TermArrays arrays = item.arrays(codec);
  const void* rest = item.choice.kind == Structure::low_rank ? static_cast<const void*>(item.numbers.sigma)
                                                             : static_cast<const void*>(item.interpolative.marks);
  if (arrays.size() > 2 && arrays[2].bytes() > 0) {
    std::memcpy(item.encoded.codes(2), rest, static_cast<std::size_t>(arrays[2].bytes()));
  }
}

void encode(Queue<Device::cpu>& queue, std::vector<Item>& items, Codec codec) {
  kernels::hold_blas_to_one_thread();
  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  std::vector<EncodingSpace> spaces(static_cast<std::size_t>(queue.threads()));
  for (Item& item : items) {
    HACK_EXPECT(item.numbers.column_weights.empty() || std::ssize(item.numbers.column_weights) == item.at.width);
    item.encoded = EncodedTerm(item.arrays(codec));
    for (EncodingSpace& space : spaces) space.reserve(item, codec);
  }
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (Item& item : items) encode_one(item, codec, spaces[static_cast<std::size_t>(omp_get_thread_num())]);
}

void append(MatrixPart& part, const Item& item, Codec codec) {
  const std::size_t begin = part.bytes.size();
  item.encoded.append_to(part.bytes);
  part.terms.push_back(
      {item.number, item.choice.kind, codec, item.choice.rank, io::digest64(std::span(part.bytes).subspan(begin))});
  part.tiles.push_back(item.choice);
  if (!part.has_spectra) return;
  HACK_EXPECT(std::ssize(item.numbers.spectrum) <= item.at.full_rank());
  part.spectra.insert(part.spectra.end(), item.numbers.spectrum.begin(), item.numbers.spectrum.end());
  part.spectra.resize(part.tiles.size() * static_cast<std::size_t>(part.grid.max_rank()), 0.0f);
}

}  // namespace

void reserve_tiles(MatrixPart& part, std::span<const TileChoice> choices, Codec codec) {
  index_t bytes = 0;
  for (std::size_t t = 0; t < choices.size(); ++t) {
    const Tile at = part.grid.tile(part.first_tile + std::ssize(part.tiles) + static_cast<index_t>(t));
    bytes += term_bytes(choices[t].kind, codec, at.height, at.width, choices[t].rank);
  }
  part.bytes.reserve(part.bytes.size() + static_cast<std::size_t>(bytes));
  part.terms.reserve(part.terms.size() + choices.size());
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
                  std::span<const TileNumbers> numbers, Codec codec) {
  HACK_EXPECT(choices.size() == numbers.size());
  const std::size_t step = 32 * static_cast<std::size_t>(queue.threads());
  for (std::size_t first = 0; first < choices.size(); first += step) {
    std::vector<Item> items;
    for (std::size_t t = first; t < std::min(first + step, choices.size()); ++t) {
      const index_t number = part.first_tile + std::ssize(part.tiles) + static_cast<index_t>(t - first);
      items.push_back({number, part.grid.tile(number), choices[t], numbers[t], numbers[t].interpolative, {}});
    }
    const InterpolativeTiles<Device::cpu> found = find_missing(queue, items);
    for (const Item& item : items) check(part, item, codec);
    encode(queue, items, codec);
    for (const Item& item : items) append(part, item, codec);
  }
}

}  // namespace hack::svd
