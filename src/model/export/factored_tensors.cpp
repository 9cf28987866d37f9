#include "model/export/factored_tensors.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "svd/tile/stored_tile.hpp"

namespace hack::model {
namespace {

using svd::Structure;
using Bytes = std::vector<std::byte>;

struct Flat {
  enum Name : std::size_t { terms, numbers, levels, scales, sigma, marks };
};
constexpr std::size_t flat_count = Flat::marks + 1;

constexpr std::array<std::string_view, flat_count> flat_names = {"terms",  "numbers", "levels",
                                                                 "scales", "sigma",   "marks"};

std::int32_t structure_number(Structure structure) {
  return structure == Structure::low_rank ? 0 : structure == Structure::dense ? 1 : 2;
}

template <class T>
void append(Bytes& to, const T* from, index_t count) {
  const auto* bytes = reinterpret_cast<const std::byte*>(from);
  to.insert(to.end(), bytes, bytes + static_cast<std::size_t>(count) * sizeof(T));
}

index_t scales_of_block(Codec codec) { return has_scales(codec) ? (has_minima(codec) ? 2 : 1) : 0; }

/// Where singular values are: they are plain numbers, but not factors.
bool is_sigma(Structure structure, std::size_t array) { return structure == Structure::low_rank && array == 2; }

/// Scales with which codes stand for their levels: d = 1, m = 0.
Bytes unit_scales(Codec codec, index_t rows, index_t cols) {
  const CodecSpec& spec = spec_of(codec);
  const float one[2] = {spec.is_shifted ? static_cast<float>(ShiftedScale::unit) : 1.0f, 0.0f};
  Bytes block(static_cast<std::size_t>(spec.scale_bytes));
  convert(one, DType::f32, block.data(), spec.scale_type, spec.scale_bytes / size_of(spec.scale_type));
  Bytes all;
  for (index_t b = 0; b < rows * blocks_of(codec, cols); ++b) all.insert(all.end(), block.begin(), block.end());
  return all;
}

void append_levels(Bytes& to, const svd::EncodedArray& array) {
  const Bytes unit = unit_scales(array.codec, array.rows, array.cols);
  std::vector<float> wide(static_cast<std::size_t>(array.rows * array.cols));
  widen(array.codec, array.codes, unit.data(), array.rows, array.cols, wide.data());
  std::vector<std::int8_t> narrow(wide.size());
  std::transform(wide.begin(), wide.end(), narrow.begin(), [](float x) { return static_cast<std::int8_t>(x); });
  append(to, narrow.data(), std::ssize(narrow));
}

void append_scales(Bytes& to, const svd::EncodedArray& array) {
  const CodecSpec& spec = spec_of(array.codec);
  const index_t stored = spec.scale_bytes / size_of(spec.scale_type);  // of a block
  const std::byte* next = array.scales;
  for (index_t b = 0; b < array.rows * blocks_of(array.codec, array.cols); ++b, next += spec.scale_bytes) {
    std::uint32_t aligned = 0;
    std::memcpy(&aligned, next, static_cast<std::size_t>(spec.scale_bytes));
    float numbers_of_block[2] = {};
    if (spec.is_shifted) {
      const auto shared = ShiftedScale::from({static_cast<std::uint16_t>(aligned)});
      numbers_of_block[0] = to_float(shared.d) / ShiftedScale::unit;
      numbers_of_block[1] = shared.minimum();
    } else {
      convert(&aligned, spec.scale_type, numbers_of_block, DType::f32, stored);
    }
    append(to, numbers_of_block, scales_of_block(array.codec));
  }
}

void append_plain(Bytes& to, const svd::EncodedArray& array, Codec as) {
  const index_t count = array.rows * array.cols;
  const std::size_t begin = to.size();
  to.resize(begin + static_cast<std::size_t>(count * size_of(plain_type(as))));
  if (array.codec == as) {
    std::memcpy(to.data() + begin, array.codes, to.size() - begin);
    return;
  }
  std::vector<float> wide(static_cast<std::size_t>(count));
  array.widen_to(wide.data());
  convert(wide.data(), DType::f32, to.data() + begin, plain_type(as), count);
}

}  // namespace

FactoredTensors::FactoredTensors(const svd::FactorSource& source, std::string matrix)
    : source_(source), matrix_(std::move(matrix)) {
  list_terms();
  list_tensors();
}

void FactoredTensors::list_terms() {
  const svd::MatrixTable& table = source_.matrix(matrix_);
  std::vector<Row> all(table.terms.size());
  for (std::size_t t = 0; t < all.size(); ++t) {
    const svd::TermEntry& term = table.terms[t];
    const svd::Tile at = table.extent_of(term);
    const index_t row[] = {at.row,
                           at.col,
                           at.height,
                           at.width,
                           structure_number(term.structure),
                           term.structure == Structure::dense ? 0 : term.rank,
                           has_scales(term.codec) ? spec_of(term.codec).block : 0,
                           scales_of_block(term.codec)};
    std::transform(std::begin(row), std::end(row), all[t].begin(),
                   [](index_t n) { return static_cast<std::int32_t>(n); });
    if (term.structure == Structure::dense || term.rank > 0) numbers_.push_back(t);
  }
  std::stable_sort(numbers_.begin(), numbers_.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(all[a].begin() + 2, all[a].end(), all[b].begin() + 2, all[b].end());
  });
  for (const std::size_t t : numbers_) rows_.push_back(all[t]);
}

void FactoredTensors::list_tensors() {
  const svd::MatrixTable& table = source_.matrix(matrix_);
  std::array<index_t, flat_count> sizes{};
  std::optional<Codec> plain;
  for (const std::size_t t : numbers_) {
    const svd::TermEntry& term = table.terms[t];
    const svd::Tile at = table.extent_of(term);
    const svd::TermArrays arrays(term.structure, term.codec, at.height, at.width, term.rank);
    for (std::size_t a = 0; a < arrays.size(); ++a) {
      const svd::TermArray& array = arrays[a];
      const index_t count = array.rows * array.cols;
      if (!array.codec) {
        sizes[Flat::marks] += array.bytes();
      } else if (is_sigma(term.structure, a)) {
        sizes[Flat::sigma] += count;
      } else if (has_scales(*array.codec)) {
        sizes[Flat::levels] += count;
        sizes[Flat::scales] += array.rows * blocks_of(*array.codec, array.cols) * scales_of_block(*array.codec);
      } else {
        sizes[Flat::numbers] += count;
        plain = plain.value_or(*array.codec) == *array.codec ? *array.codec : Codec::f32;
      }
    }
  }
  plain_ = plain.value_or(Codec::f32);
  const std::string_view plain_name = plain_ == Codec::f32 ? "F32" : plain_ == Codec::f16 ? "F16" : "BF16";
  const std::array<std::string_view, flat_count> types = {"I32", plain_name, "I8", "F32", "F32", "U8"};
  const std::array<index_t, flat_count> bytes = {4, size_of(plain_type(plain_)), 1, 4, 4, 1};
  const index_t count = std::ssize(rows_);
  tensors_.push_back({flat_names[Flat::terms], types[Flat::terms], bytes[Flat::terms], {count, std::ssize(Row{})}});
  for (std::size_t f = Flat::numbers; f < flat_count; ++f) {
    if (sizes[f] > 0) tensors_.push_back({flat_names[f], types[f], bytes[f], {sizes[f]}});
  }
}

namespace {

/// Appends the a-th array of a term to the tensor that holds its like.
void append_array(const svd::StoredTerm& term, std::size_t a, Codec plain, std::array<Bytes, flat_count>& flat) {
  const svd::TermArrays arrays(term.structure, term.codec, term.height, term.width, term.rank);
  if (!arrays[a].codec) {
    append(flat[Flat::marks], term.bytes.data() + arrays.bytes() - arrays[a].bytes(),
           arrays[a].bytes());  // the last one
    return;
  }
  const svd::EncodedArray array = term.array(a);
  if (is_sigma(term.structure, a)) {
    append(flat[Flat::sigma], array.codes, arrays[a].bytes());
  } else if (has_scales(array.codec)) {
    append_levels(flat[Flat::levels], array);
    append_scales(flat[Flat::scales], array);
  } else {
    append_plain(flat[Flat::numbers], array, plain);
  }
}

}  // namespace

std::vector<std::vector<std::byte>> FactoredTensors::read() const {
  const svd::MatrixTable& table = source_.matrix(matrix_);
  std::vector<svd::StoredTerm> stored;  // as the table has them
  for (index_t i = 0; i < table.grid.tile_rows(); ++i) {
    for (svd::StoredTile& tile : source_.read_tiles(matrix_, i, 0, table.grid.tile_cols())) {
      for (svd::StoredTerm& term : tile.terms) stored.push_back(std::move(term));
    }
  }
  for (svd::StoredTerm& term : source_.read_whole_terms(matrix_)) stored.push_back(std::move(term));

  std::array<Bytes, flat_count> flat;
  for (const Row& row : rows_) append(flat[Flat::terms], row.data(), std::ssize(row));
  for (std::size_t first = 0; first < rows_.size();) {
    std::size_t last = first;
    while (last < rows_.size() && std::equal(rows_[last].begin() + 2, rows_[last].end(), rows_[first].begin() + 2)) {
      ++last;
    }
    const svd::StoredTerm& like = stored[numbers_[first]];
    const std::size_t arrays = svd::TermArrays(like.structure, like.codec, like.height, like.width, like.rank).size();
    for (std::size_t a = 0; a < arrays; ++a) {
      for (std::size_t t = first; t < last; ++t) append_array(stored[numbers_[t]], a, plain_, flat);
    }
    first = last;
  }
  std::vector<Bytes> out;
  for (const Tensor& tensor : tensors_) {
    const auto at = std::find(flat_names.begin(), flat_names.end(), tensor.name) - flat_names.begin();
    out.push_back(std::move(flat[static_cast<std::size_t>(at)]));
  }
  return out;
}

}  // namespace hack::model
