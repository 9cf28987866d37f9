#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "svd/archive/factor_source.hpp"

namespace hack::testing {

/// Compressed matrices that are in no file.
class MemoryFactors final : public svd::FactorSource {
 public:
  /// Adds a matrix, the terms of each tile by terms_of(tile), and terms of the whole matrix.
  template <class TermsOf>
  void add(const std::string& name, const svd::TileGrid& grid, const TermsOf& terms_of,
           std::vector<svd::StoredTerm> whole = {}) {
    Matrix& matrix = matrices_.emplace(name, Matrix{{.grid = grid}, {}, std::move(whole)}).first->second;
    const auto list = [&](const std::vector<svd::StoredTerm>& terms, index_t tile) {
      for (const svd::StoredTerm& term : terms) {
        matrix.table.terms.push_back({tile, term.structure, term.codec, term.rank, 0});
      }
    };
    for (index_t t = 0; t < grid.size(); ++t) {
      matrix.tiles.push_back({terms_of(grid.tile(t))});
      list(matrix.tiles.back().terms, t);
    }
    list(matrix.whole, svd::TermEntry::whole_matrix);
    matrix.table.index_terms();
    names_.push_back(name);
    std::sort(names_.begin(), names_.end());
  }

  const svd::ArchiveInfo& info() const override { return info_; }
  const std::vector<std::string>& matrices() const override { return names_; }
  bool contains(std::string_view name) const override { return matrices_.find(name) != matrices_.end(); }
  const svd::MatrixTable& matrix(std::string_view name) const override { return matrices_.find(name)->second.table; }
  std::vector<svd::StoredTile> read_tiles(std::string_view name, index_t i, index_t first,
                                          index_t last) const override {
    const Matrix& matrix = matrices_.find(name)->second;
    const auto row = matrix.tiles.begin() + i * matrix.table.grid.tile_cols();
    return {row + first, row + last};
  }
  std::vector<svd::StoredTerm> read_whole_terms(std::string_view name) const override {
    return matrices_.find(name)->second.whole;
  }

 private:
  struct Matrix {
    svd::MatrixTable table;
    std::vector<svd::StoredTile> tiles;
    std::vector<svd::StoredTerm> whole;
  };

  svd::ArchiveInfo info_;
  std::map<std::string, Matrix, std::less<>> matrices_;
  std::vector<std::string> names_;
};

}  // namespace hack::testing
