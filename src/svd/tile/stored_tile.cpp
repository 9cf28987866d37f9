#include "svd/tile/stored_tile.hpp"

#include <cmath>
#include <cstring>

#include "kernels/error.hpp"
#include "kernels/finite.hpp"
#include "kernels/row_marks.hpp"

namespace hack::svd {
namespace {

/// Scales of one array, or the numbers of a codec that has none.
void check_numbers(const Tile& at, const EncodedArray& array) {
  const CodecSpec& spec = spec_of(array.codec);
  const bool scaled = has_scales(array.codec);
  const DType type = scaled ? spec.scale_type : plain_type(array.codec);
  const index_t of_row = scaled ? scale_bytes(array.codec, array.cols) / hack::size_of(type) : array.cols;
  const index_t numbers = array.rows * of_row;
  const std::byte* first = scaled ? array.scales : array.codes;
  const bool is_signed = !scaled || spec.has_signed_scales;
  if (is_signed ? are_finite(first, type, numbers) : are_finite_from_zero(first, type, numbers)) return;
  for (index_t n = 0; n < numbers; ++n) {
    std::uint32_t aligned = 0;
    std::memcpy(&aligned, first + n * hack::size_of(type), static_cast<std::size_t>(hack::size_of(type)));
    float number;
    convert(&aligned, type, &number, DType::f32, 1);
    validate(std::isfinite(number) && (number >= 0 || is_signed), "a {} of tile ({}, {}) is {}",
             scaled ? "scale" : "number", at.i, at.j, number);
  }
}

void check_sigma(const Tile& at, const StoredTerm& term, const std::byte* bytes) {
  if (are_finite_from_zero(bytes, DType::f32, term.rank)) return;
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
  for (const TermArray& array : arrays) {
    if (!array.codec) {
      if (array.rows > 0) check_marks(at, term, next);
    } else if (term.structure == Structure::low_rank && &array == arrays.end() - 1) {
      check_sigma(at, term, next);
    } else {
      check_numbers(at, {*array.codec, array.rows, array.cols, next, next + array.code_bytes()});
    }
    next += array.bytes();
  }
}

}  // namespace hack::svd
