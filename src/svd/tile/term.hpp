#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "kernels/codec.hpp"
#include "kernels/factored_linear.hpp"
#include "kernels/row_marks.hpp"

namespace hack::svd {

using kernels::Structure;

/// One array of a term: rows of numbers in a codec, all codes before all scales; or one bit for each number.
struct TermArray {
  std::string_view name;
  index_t rows = 0;
  index_t cols = 0;
  std::optional<Codec> codec;  ///< nothing: bits (kernels/row_marks.hpp)

  constexpr index_t code_bytes() const {
    return rows * (codec ? hack::code_bytes(*codec, cols) : kernels::mark_bytes(cols));
  }
  constexpr index_t scale_bytes() const { return codec ? rows * hack::scale_bytes(*codec, cols) : 0; }
  constexpr index_t bytes() const { return code_bytes() + scale_bytes(); }
};

/// What a term (h, w) of rank k stands for, and the arrays it is made of. This is the only place that lists them:
/// archives, journals, byte counts and run-time layouts loop over the list.
///
///     dense          values (h, w)                                            itself
///     low_rank       left U (h, k), right Vᵀ (k, w), sigma (1, k)             U diag(sigma) Vᵀ
///     interpolative  coefficients C (h - k, k), skeleton P (k, w), marks      rows P where marked, rows C P elsewhere,
///                    (1, h)                                                   each from top to bottom
///
/// The last is the row interpolative decomposition: k rows of the matrix and the coefficients of all others in them
/// (Cheng, Gimbutas, Martinsson, Rokhlin 2005; for language models PIFA, 2025). Where no row or every row belongs to
/// the skeleton there are no marks.
class TermArrays {
 public:
  constexpr TermArrays(Structure structure, Codec codec, index_t h, index_t w, index_t k) {
    switch (structure) {
      case Structure::dense:
        add({"values", h, w, codec});
        break;
      case Structure::low_rank:
        add({"left", k > 0 ? h : 0, k, codec});
        add({"right", k, w, codec});
        add({"sigma", k > 0 ? 1 : 0, k, Codec::f32});
        break;
      case Structure::interpolative:
        add({"coefficients", k > 0 ? h - k : 0, k, codec});
        add({"skeleton", k, w, codec});
        add({"marks", k > 0 && k < h ? 1 : 0, h, std::nullopt});
        break;
    }
  }

  constexpr const TermArray* begin() const { return arrays_.data(); }
  constexpr const TermArray* end() const { return arrays_.data() + count_; }
  constexpr std::size_t size() const { return count_; }
  constexpr const TermArray& operator[](std::size_t a) const { return arrays_[a]; }

  /// Bytes of all arrays, one after the other.
  constexpr index_t bytes() const {
    index_t sum = 0;
    for (const TermArray& array : *this) sum += array.bytes();
    return sum;
  }

 private:
  constexpr void add(TermArray array) { arrays_[count_++] = array; }

  std::array<TermArray, 3> arrays_{};
  std::size_t count_ = 0;
};

inline constexpr std::array structures = {Structure::low_rank, Structure::dense, Structure::interpolative};

constexpr std::string_view to_string(Structure structure) {
  switch (structure) {
    case Structure::low_rank:
      return "low_rank";
    case Structure::dense:
      return "dense";
    case Structure::interpolative:
      return "interpolative";
  }
  return "?";
}

/// Bytes of a term (h, w) of rank k.
constexpr index_t term_bytes(Structure structure, Codec codec, index_t h, index_t w, index_t k) {
  return TermArrays(structure, codec, h, w, k).bytes();
}

}  // namespace hack::svd
