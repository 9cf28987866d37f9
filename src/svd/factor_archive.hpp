#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "svd/archive_info.hpp"
#include "svd/hdf5.hpp"
#include "svd/range.hpp"
#include "svd/tile_grid.hpp"

namespace hack::svd {

/// The tables of one matrix in an archive; tiles by number, i * J + j.
struct MatrixEntry {
  TileGrid grid;
  std::vector<std::int32_t> ranks;       // (I * J)
  std::vector<kernels::TileKind> kinds;  // (I * J)
  std::vector<double> energies;          // (I * J) Σ σ²
  std::vector<double> discarded;         // (I * J) of it left out
  std::vector<index_t> u_offsets;        // (I * J + 1) first number of each tile in u, then their count
  std::vector<index_t> v_offsets;        // (I * J + 1) likewise in v
  std::vector<index_t> u_scale_offsets;  // (I * J + 1) likewise in u_scale, where the factor type has scales
  std::vector<index_t> v_scale_offsets;  // (I * J + 1) likewise in v_scale
  std::vector<index_t> pivot_offsets;    // (I * J + 1) likewise in pivots
  std::vector<std::uint8_t> pivots;      // marks of the tiles that have some
  index_t spectrum_length = 0;           ///< singular values of each tile: grid.max_rank(), or none
  index_t bytes_factors = 0;
  index_t bytes_dense = 0;

  /// Whether a row of a pivoted tile is one of its pivots.
  bool is_pivot(index_t tile, index_t row) const;
};

/// A tile as the archive holds it, in the archive's factor type; of int8 as f32, with the scales multiplied in.
struct StoredTile {
  kernels::TileKind kind = kernels::TileKind::factors;
  std::int32_t rank = 0;        ///< k
  std::vector<std::byte> u;     // (h, k) row-major; (h, w) of a dense tile; (h - k, k) of a pivoted one
  std::vector<std::byte> v;     // (k, w) row-major, Vᵀ or pivots; empty of a dense tile
  std::vector<float> sigma;     // (k); empty where there is no spectrum
  std::vector<index_t> pivots;  // (k) rows of the tile, ascending; empty of other kinds
};

/// Reads a factor archive of any version (layout: FactorArchiveWriter), each rank by itself and only what it asks for.
/// The file is not trusted: every size is checked against the others and against the file before it is used; what does
/// not fit is an Error that names file and matrix.
class FactorArchive {
 public:
  /// Opens the archive and reads the tables of all matrices.
  explicit FactorArchive(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const ArchiveInfo& info() const { return info_; }
  /// Names, sorted.
  const std::vector<std::string>& matrices() const { return names_; }
  bool contains(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  /// An Error if there is no such matrix.
  const MatrixEntry& matrix(std::string_view name) const;

  /// Reads tiles (i, first_col) … (i, last_col - 1): one read each of u, v, their scales and the
  /// spectrum.
  std::vector<StoredTile> read_tiles(std::string_view name, index_t i, index_t first_col, index_t last_col) const;

  /// Reads all singular values, where they are stored.
  std::vector<float> spectrum(std::string_view name) const;  // (I, J, spectrum_length)

 private:
  ArchiveInfo read_info();
  MatrixEntry read_entry(const std::string& name) const;
  void set_offsets(MatrixEntry& entry) const;
  std::vector<std::vector<std::byte>> read_array(std::string_view matrix, const std::string& array,
                                                 const std::vector<index_t>& offsets,
                                                 const std::vector<index_t>& scale_offsets, Range tiles) const;
  Hdf5Id open_dataset(const Hdf5Id& group, const char* name, hid_t expected_type,
                      const std::vector<index_t>& expected_shape) const;
  Hdf5Id open_matrix_dataset(std::string_view matrix, const char* name) const;

  std::filesystem::path path_;
  index_t file_size_ = 0;
  Hdf5Id file_;
  std::int64_t version_ = 0;
  Hdf5Id number_type_;
  ArchiveInfo info_;
  std::vector<std::string> names_;
  std::map<std::string, MatrixEntry, std::less<>> entries_;
};

}  // namespace hack::svd
