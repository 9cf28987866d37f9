#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/error.hpp"
#include "kernels/queue.hpp"
#include "svd/pipeline/compression_summary.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/choose/rank_policy.hpp"

namespace hack::svd {

/// Ranks that an archive cannot give.
class RankError : public Error {
 public:
  /// `needed`: vectors of a tile that had to be kept; 0 where none are.
  RankError(const std::string& problem, index_t needed) : Error(problem), needed_(needed) {}
  index_t needed() const { return needed_; }

 private:
  index_t needed_;
};

/// An archive of kept vectors (rule max-rank) as the archive that `compress` would have made of its matrices under
/// another rule: the same tables, and of every tile the same numbers, bit by bit. Vectors are slices of those kept;
/// skeleton rows and dense products are made of them when a tile is read, and rounded to the factor type as then.
///
///     kept      U (h, R)    all of Σ    Vᵀ (R, w)    the tile's values
///     selected  U_k, σ_k, V_kᵀ with k <= R in the format's form; or the values, of a tile that stays dense
class SelectedFactors : public FactorSource {
 public:
  /// Chooses the ranks of all matrices. A RankError where the archive keeps no vectors, or fewer than a tile needs.
  /// `vectors` outlives this; `threads` take part when tiles are read.
  SelectedFactors(const FactorArchive& vectors, const RankRule& rule, const TileFormat& format, int threads);

  const ArchiveInfo& info() const override { return info_; }
  const std::vector<std::string>& matrices() const override { return vectors_.matrices(); }
  bool contains(std::string_view name) const override { return vectors_.contains(name); }
  const MatrixTable& matrix(std::string_view name) const override { return selection(name).table; }
  /// Not from several threads at once.
  std::vector<StoredTile> read_tiles(std::string_view name, index_t i, index_t first_col,
                                     index_t last_col) const override;

  std::vector<StoredTerm> read_whole_terms(std::string_view) const override { return {}; }

  /// Tiles with these numbers as they go into an archive.
  MatrixPart part(std::string_view name, Range tiles) const;

  CompressionSummary summary(std::string_view name) const;

 private:
  struct Selection {
    MatrixTable table;
    std::vector<TileChoice> choices;  // (I * J)
  };

  const Selection& selection(std::string_view name) const;
  Selection select(const std::string& name) const;
  void check_ranks(const std::string& name, const std::vector<TileChoice>& choices) const;
  void append_slices(MatrixPart& part, Range tiles) const;

  const FactorArchive& vectors_;
  ArchiveInfo info_;
  mutable Queue<Device::cpu> queue_;
  std::map<std::string, Selection, std::less<>> selections_;
};

/// Writes them as an archive at `output`, matrices in the order of `names`. Collective. The same to the byte for any
/// number of ranks; and the same as what `compress` writes under the same options, if matrices come in the same order.
void write_selection(const comm::Communicator& comm, const SelectedFactors& factors,
                     const std::vector<std::string>& names, const ArchiveHeader& header,
                     const std::filesystem::path& output);

}  // namespace hack::svd
