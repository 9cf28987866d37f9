#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/archive/hdf5.hpp"
#include "svd/tile/range.hpp"

namespace hack::svd {

/// The tables of one matrix in an archive, and where its tiles' numbers are.
struct MatrixEntry : MatrixTable {
  std::vector<index_t> u_offsets;         // (I * J + 1) first number of each tile in u, then their count
  std::vector<index_t> v_offsets;         // (I * J + 1) likewise in v
  std::vector<index_t> u_scale_offsets;   // (I * J + 1) likewise in u_scale, where the factor type has scales
  std::vector<index_t> v_scale_offsets;   // (I * J + 1) likewise in v_scale
  std::vector<index_t> skeleton_offsets;  // (I * J + 1) likewise in skeleton rows
  std::vector<index_t> value_offsets;     // (I * J + 1) likewise in values, where original values are kept
  std::vector<std::uint8_t> skeleton;     // marks of the tiles that have some
  index_t spectrum_length = 0;            ///< singular values of each tile: grid.max_rank(), or none
};

/// Reads a factor archive of any version (layout: FactorArchiveWriter), each rank by itself and only what it asks for.
/// The file is not trusted: every size is checked against the others and against the file before it is used; what does
/// not fit is an Error that names file and matrix.
class FactorArchive : public FactorSource {
 public:
  /// Opens the archive and reads the tables of all matrices.
  explicit FactorArchive(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const ArchiveInfo& info() const override { return info_; }
  const std::vector<std::string>& matrices() const override { return names_; }
  bool contains(std::string_view name) const override { return entries_.find(name) != entries_.end(); }
  const MatrixEntry& matrix(std::string_view name) const override;
  /// One read each of u, v, their scales and the spectrum.
  std::vector<StoredTile> read_tiles(std::string_view name, index_t i, index_t first_col,
                                     index_t last_col) const override;
  /// The same for tiles with these numbers.
  std::vector<StoredTile> read_tiles(std::string_view name, Range tiles) const;

  /// Reads all singular values, where they are stored.
  std::vector<float> spectrum(std::string_view name) const;  // (I, J, spectrum_length)
  /// Those of tiles with these numbers.
  std::vector<float> spectrum(std::string_view name, Range tiles) const;  // (tiles, spectrum_length)

  /// Reads the original values of a tile, where they are kept: (h, w), exact as f32.
  void read_values(std::string_view name, index_t tile, MatrixView<float> out) const;

 private:
  ArchiveInfo read_info();
  MatrixEntry read_entry(const std::string& name) const;
  void set_offsets(MatrixEntry& entry) const;
  std::vector<std::byte> read_numbers(std::string_view matrix, const char* array, Range numbers) const;
  std::vector<bf16> read_scales(std::string_view matrix, const char* array, Range rows) const;
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
