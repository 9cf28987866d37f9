#include "model/export/leaving_type.hpp"

#include <algorithm>

#include <fmt/core.h>

namespace hack::model {
namespace {

std::string words_of(const svd::TermEntry& term) {
  return fmt::format("{} {}", svd::to_string(term.structure), to_string(term.codec));
}

}  // namespace

LeavingType leaving_type(const svd::MatrixTable& matrix) {
  if (!matrix.whole_terms().empty()) return {{}, "corrections of whole matrices"};
  const Codec codec = matrix.terms.front().codec;
  for (index_t t = 0; t < matrix.grid.size(); ++t) {
    const auto terms = matrix.terms_of(t);
    if (terms.size() > 1) return {{}, "tiles of several terms"};
    if (terms.front().structure != svd::Structure::dense) return {{}, "terms in " + words_of(terms.front())};
    if (terms.front().codec != codec) return {{}, "tiles in different codecs"};
  }
  const std::optional<GgmlType> type = ggml_type_of(codec);
  if (!type) return {{}, fmt::format("terms in {}, which GGML does not have", words_of(matrix.terms.front()))};
  const index_t block = block_size(*type), cols = matrix.grid.cols(), width = matrix.grid.tile_width();
  if (cols % block != 0) return {{}, fmt::format("rows of {} numbers, no whole blocks of {}", cols, block)};
  if (width % block != 0 && width < cols) {
    return {{}, fmt::format("tiles {} numbers wide, no whole blocks of {}", width, block)};
  }
  return {type, ""};
}

}  // namespace hack::model
