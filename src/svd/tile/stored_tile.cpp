#include "svd/tile/stored_tile.hpp"

#include <cmath>
#include <cstring>

#include "kernels/error.hpp"
#include "kernels/row_marks.hpp"

namespace hack::svd {
namespace {

/// Scales of one array, in their type.
void check_scales(const Tile& at, const EncodedArray& array) {
  const CodecSpec& spec = spec_of(array.codec);
  const index_t numbers = array.rows * scale_bytes(array.codec, array.cols) / size_of(spec.scale_type);
  for (index_t n = 0; n < numbers; ++n) {
    std::uint32_t aligned = 0;  // scales lie anywhere
    std::memcpy(&aligned, array.scales + n * size_of(spec.scale_type),
                static_cast<std::size_t>(size_of(spec.scale_type)));
    float scale;
    convert(&aligned, spec.scale_type, &scale, DType::f32, 1);
    validate(std::isfinite(scale) && (scale >= 0 || spec.has_signed_scales), "a scale of tile ({}, {}) is {}", at.i,
             at.j, scale);
  }
}

void check_sigma(const Tile& at, const StoredTerm& term) {
  for (const float s : term.sigma()) {
    validate(std::isfinite(s) && s >= 0, "a singular value of tile ({}, {}) is {}", at.i, at.j, s);
  }
}

/// As many rows must be marked as the term has skeleton rows, none of them below the tile.
void check_marks(const Tile& at, const StoredTerm& term, const std::byte* bytes) {
  const auto* marks = reinterpret_cast<const std::uint8_t*>(bytes);
  const index_t marked = kernels::count_marks(marks, term.height);
  const index_t all = kernels::count_marks(marks, 8 * kernels::mark_bytes(term.height));
  validate(marked == term.rank && all == term.rank,
           "tile ({}, {}) of rank {} marks {} of its {} rows as skeleton, and {} beyond them", at.i, at.j, term.rank,
           marked, term.height, all - marked);
}

}  // namespace

const std::byte* StoredTerm::start_of(std::size_t a) const {
  const TermArrays arrays(structure, codec, height, width, rank);
  index_t start = 0;
  for (std::size_t before = 0; before < a; ++before) start += arrays[before].bytes();
  return bytes.data() + start;
}

EncodedArray StoredTerm::array(std::size_t a) const {
  const TermArray of = TermArrays(structure, codec, height, width, rank)[a];
  HACK_EXPECT(of.codec.has_value());
  const std::byte* codes = start_of(a);
  return {*of.codec, of.rows, of.cols, codes, codes + of.code_bytes()};
}

std::vector<float> StoredTerm::sigma() const {
  HACK_EXPECT(structure == Structure::low_rank);
  std::vector<float> values(static_cast<std::size_t>(rank));
  if (rank > 0) std::memcpy(values.data(), start_of(2), values.size() * sizeof(float));
  return values;
}

std::vector<index_t> StoredTerm::skeleton() const {
  HACK_EXPECT(structure == Structure::interpolative);
  // Without marks none of the rows belongs to the skeleton or all do.
  const bool has_marks = rank > 0 && rank < height;
  const auto* marks = reinterpret_cast<const std::uint8_t*>(start_of(2));
  std::vector<index_t> rows;
  for (index_t row = 0; row < height; ++row) {
    if (has_marks ? kernels::is_marked(marks, row) : rank > 0) rows.push_back(row);
  }
  return rows;
}

void check_term(const Tile& at, const StoredTerm& term) {
  const TermArrays arrays(term.structure, term.codec, term.height, term.width, term.rank);
  HACK_EXPECT(std::ssize(term.bytes) == arrays.bytes());
  const std::byte* next = term.bytes.data();
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    if (!arrays[a].codec) {
      if (arrays[a].rows > 0) check_marks(at, term, next);
    } else if (has_scales(*arrays[a].codec)) {
      check_scales(at, term.array(a));
    }
    next += arrays[a].bytes();
  }
  if (term.structure == Structure::low_rank) check_sigma(at, term);
}

}  // namespace hack::svd
