#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/llama_config.hpp"
#include "svd/archive/factor_source.hpp"

namespace hack::jobs {

/// Factors of random numbers, in one codec, of one rank and storage for all tiles: for timings of shapes that were
/// never compressed. An interpolative tile's skeleton rows are spread evenly over its rows. Numbers are such that
/// products neither grow nor vanish: of variance 1 / columns in V, of mean square 1 in all else.
class RandomFactorSource final : public svd::FactorSource {
 public:
  /// Tiles of 128 × 128 have rank `rank`, clipped ones at most their full rank.
  RandomFactorSource(index_t rank, svd::Structure storage, Codec codec = Codec::bf16);

  /// Adds a matrix (rows, cols).
  void add(const std::string& name, index_t rows, index_t cols);
  /// Adds gate, up and down of all layers.
  void add_mlp(const model::LlamaConfig& config);

  const svd::ArchiveInfo& info() const override { return info_; }
  const std::vector<std::string>& matrices() const override { return names_; }
  bool contains(std::string_view name) const override { return tables_.find(name) != tables_.end(); }
  const svd::MatrixTable& matrix(std::string_view name) const override;
  std::vector<svd::StoredTile> read_tiles(std::string_view name, index_t i, index_t first_col,
                                          index_t last_col) const override;
  std::vector<svd::StoredTerm> read_whole_terms(std::string_view) const override { return {}; }

 private:
  index_t rank_;
  svd::ArchiveInfo info_;
  std::vector<std::string> names_;
  std::map<std::string, svd::MatrixTable, std::less<>> tables_;
};

}  // namespace hack::jobs
