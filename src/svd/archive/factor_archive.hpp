#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/archive/archive_seal.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/archive/hdf5.hpp"
#include "svd/archive/term_columns.hpp"
#include "svd/tile/range.hpp"

namespace hack::svd {

/// The tables of one matrix in an archive, and where its bytes are.
struct MatrixEntry : MatrixTable {
  std::vector<index_t> term_offsets;         // (terms + 1) first byte of each term, then their count
  std::vector<index_t> value_offsets;        // (I * J + 1) of each tile's original values, where they are kept
  std::vector<std::uint64_t> value_digests;  // (I * J) likewise
  index_t spectrum_length = 0;               ///< singular values of each tile: grid.max_rank(), or none
};

/// Reads a factor archive (docs/archive-format.md), each rank by itself and only what it asks for. The file is not
/// trusted: its seal is checked before HDF5 opens it, the digest of each term when the term is read, and every size
/// against the others and against the file before it is used. What does not fit is an Error that names file and matrix.
class FactorArchive : public FactorSource {
 public:
  /// Checks the archive's seal, opens it and reads the tables of all matrices.
  explicit FactorArchive(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const ArchiveInfo& info() const override { return info_; }
  const std::vector<std::string>& matrices() const override { return names_; }
  bool contains(std::string_view name) const override { return entries_.find(name) != entries_.end(); }
  const MatrixEntry& matrix(std::string_view name) const override;
  /// One read of all their bytes.
  std::vector<StoredTile> read_tiles(std::string_view name, index_t i, index_t first_col,
                                     index_t last_col) const override;
  /// The same for tiles with these numbers.
  std::vector<StoredTile> read_tiles(std::string_view name, Range tiles) const;
  std::vector<StoredTerm> read_whole_terms(std::string_view name) const override;

  /// Reads all singular values, where they are stored.
  std::vector<float> spectrum(std::string_view name) const;  // (I, J, spectrum_length)
  /// Those of tiles with these numbers.
  std::vector<float> spectrum(std::string_view name, Range tiles) const;  // (tiles, spectrum_length)

  /// Reads the original values of a tile, where they are kept: (h, w), exact as f32.
  void read_values(std::string_view name, index_t tile, MatrixView<float> out) const;

 private:
  ArchiveInfo read_info();
  MatrixEntry read_entry(const std::string& name) const;
  void read_tile_tables(const Hdf5Id& group, MatrixEntry& entry) const;
  void read_term_table(const Hdf5Id& group, MatrixEntry& entry) const;
  void set_offsets(MatrixEntry& entry) const;
  std::vector<StoredTerm> read_terms(std::string_view name, Range terms) const;
  Hdf5Id open_dataset(const Hdf5Id& group, const char* name, hid_t expected_type,
                      const std::vector<index_t>& expected_shape) const;
  Hdf5Id open_bytes(const Hdf5Id& group, const char* name, index_t expected_size) const;
  Hdf5Id open_matrix_dataset(std::string_view matrix, const char* name) const;

  std::filesystem::path path_;
  index_t file_size_ = 0;
  std::vector<FileRange> digested_;  // datasets that the seal leaves to their own digests
  Hdf5Id file_;
  Legends legends_;
  ArchiveInfo info_;
  std::vector<std::string> names_;
  std::map<std::string, MatrixEntry, std::less<>> entries_;
};

}  // namespace hack::svd
