#include "jobs/bench/random_factor_source.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/error.hpp"
#include "kernels/row_marks.hpp"
#include "model/llama/names.hpp"
#include "svd/tile/encode_rows.hpp"
#include "svd/tile/encoded_term.hpp"

namespace hack::jobs {
namespace {

/// n numbers, uniform, of this standard deviation.
std::vector<float> random_numbers(index_t n, double deviation, std::minstd_rand& engine) {
  const double width = std::sqrt(12.0) * deviation / static_cast<double>(std::minstd_rand::max());
  std::vector<float> numbers;
  numbers.reserve(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) {
    numbers.push_back(static_cast<float>(width * (static_cast<double>(engine()) - std::minstd_rand::max() / 2.0)));
  }
  return numbers;
}

/// Numbers are random, singular values are 1, and skeleton rows are spread evenly.
svd::StoredTerm random_term(const svd::TermEntry& entry, const svd::Tile& at, index_t cols, std::minstd_rand& engine) {
  const svd::TermArrays arrays(entry.structure, entry.codec, at.height, at.width, entry.rank);
  svd::EncodedTerm encoded(arrays);
  for (std::size_t a = 0; a < std::min<std::size_t>(arrays.size(), 2); ++a) {
    const svd::TermArray& array = arrays[a];
    const auto length = static_cast<double>(a == 0 ? std::max<index_t>(array.cols, 1) : cols);
    const std::vector<float> numbers = random_numbers(array.rows * array.cols, 1 / std::sqrt(length), engine);
    const std::vector<double> weights(static_cast<std::size_t>(array.cols), 1.0);
    svd::encode_rows(entry.codec, {numbers.data(), array.rows, array.cols}, weights, encoded.codes(a),
                     encoded.scales(a));
  }
  if (entry.structure == svd::Structure::low_rank) {
    std::fill_n(reinterpret_cast<float*>(encoded.codes(2)), entry.rank, 1.0f);
  }
  const bool has_marks = entry.structure == svd::Structure::interpolative && arrays[2].rows > 0;
  for (index_t p = 0; has_marks && p < entry.rank; ++p) {
    kernels::mark(reinterpret_cast<std::uint8_t*>(encoded.codes(2)), p * at.height / entry.rank);
  }
  svd::StoredTerm term{entry.structure, entry.codec, entry.rank, at.height, at.width, {}};
  encoded.append_to(term.bytes);
  return term;
}

}  // namespace

RandomFactorSource::RandomFactorSource(index_t rank, svd::Structure storage, Codec codec) : rank_(rank) {
  validate(rank >= 0, "--rank {} is below 0", rank);
  info_.header.method = "random";
  info_.compression.storage = storage;
  info_.compression.codec = codec;
}

void RandomFactorSource::add(const std::string& name, index_t rows, index_t cols) {
  svd::MatrixTable table{.grid = info_.compression.grid(rows, cols), .bytes_dense = 2 * rows * cols};
  const kernels::Structure kind = info_.compression.storage;
  for (index_t number = 0; number < table.grid.size(); ++number) {
    const svd::Tile tile = table.grid.tile(number);
    const index_t rank = std::min(rank_, tile.full_rank());
    table.terms.push_back({number, kind, info_.compression.codec, static_cast<std::int32_t>(rank)});
    table.bytes_factors += svd::stored_bytes(kind, tile.height, tile.width, rank, info_.compression.codec);
  }
  table.index_terms();
  table.energies.assign(table.terms.size(), 1);
  table.discarded.assign(table.terms.size(), 0);
  tables_.emplace(name, std::move(table));
  names_.insert(std::lower_bound(names_.begin(), names_.end(), name), name);
}

void RandomFactorSource::add_mlp(const model::LlamaConfig& config) {
  for (index_t layer = 0; layer < config.layers; ++layer) {
    for (const model::Linear linear : model::mlp_linears) {
      const model::LayerTensor& tensor = tensor_of(linear);
      add(model::weight_name(layer, linear), size_of(tensor.rows, config), size_of(tensor.cols, config));
    }
  }
}

const svd::MatrixTable& RandomFactorSource::matrix(std::string_view name) const {
  const auto at = tables_.find(name);
  validate(at != tables_.end(), "there are no random factors of '{}'", name);
  return at->second;
}

std::vector<svd::StoredTile> RandomFactorSource::read_tiles(std::string_view name, index_t i, index_t first_col,
                                                            index_t last_col) const {
  const svd::MatrixTable& table = matrix(name);
  std::vector<svd::StoredTile> tiles;
  for (index_t j = first_col; j < last_col; ++j) {
    const svd::Tile at = table.grid.tile(i, j);
    const auto number = static_cast<std::size_t>(i * table.grid.tile_cols() + j);
    std::minstd_rand engine(static_cast<unsigned>(number + 1));
    svd::StoredTile tile;
    tile.terms.push_back(random_term(table.terms[number], at, table.grid.cols(), engine));
    tiles.push_back(std::move(tile));
  }
  return tiles;
}

}  // namespace hack::jobs
