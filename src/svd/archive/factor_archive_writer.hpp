#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/temporary_file.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/archive/hdf5.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// One rank's tiles of a matrix, ready to be written: those with numbers first_tile, first_tile + 1, … append_tiles()
/// fills it.
struct MatrixPart {
  std::string name;
  TileGrid grid;
  index_t first_tile = 0;
  /// Whether spectra are stored, the same on every rank. Only tiles kept as two factors need theirs.
  bool has_spectra = true;
  std::vector<TileChoice> tiles;       // (tiles of this rank)
  std::vector<float> spectra;          // (tiles of this rank, grid.max_rank()) whole spectra, then zeros; or nothing
  std::vector<std::byte> u;            // tile after tile in the factor type, as in the archive
  std::vector<std::byte> v;            // likewise
  std::vector<bf16> u_scales;          // of int8: of the rows in u
  std::vector<bf16> v_scales;          // likewise
  std::vector<std::uint8_t> skeleton;  // likewise, bytes
  std::vector<std::byte> values;       // under rule max-rank: original values, tile after tile in the values' type
};

/// Writes a factor archive, all ranks together. Layout, version 2, or 3 of archives that keep vectors (rule max-rank):
///
///     /                   attributes format, format_version, program_version, model_fingerprint, model, method, mode,
///                         tile (its height), tile_width (where that differs), rank_rule, rank_value, factor_type,
///                         storage, options; values_type (version 3)
///     /matrices/NAME      attributes rows, cols, tile_rows, tile_cols (sizes of an unclipped tile), bytes_factors,
///                         bytes_dense
///         rank            (I, J) int32
///         kind            (I, J) uint8, a kernels::Structure
///         spectrum        (I, J, r) f32, all singular values, zeros at the end for clipped tiles; or (I, J, 0)
///         energy          (I, J) f64, Σ σ²
///         discarded       (I, J) f64, what the rank leaves out of it
///         u               factor type: tiles row by row, each row-major
///         v               factor type: likewise
///         skeleton rows          uint8: likewise
///         u_scale         bf16, of factor type int8 alone: a scale for each row of u that has numbers, likewise
///         v_scale         bf16: likewise of v
///         values          values_type: likewise, (h, w) of every tile (version 3)
///
/// What a tile (h, w) of rank k has in these, and what it stands for (with int8, scales multiplied in):
///
///     factors   u: U (h, k)        v: Vᵀ (k, w)     U diag(first k of its spectrum) Vᵀ, U and V orthonormal
///     dense     u: itself (h, w)
///     interpolative   u: C (h - k, k)    v: P (k, w)      rows P where the skeleton rows are, rows C P elsewhere, both
///     from top to
///               skeleton rows: (h + 7) / 8 bytes           bottom; row r is a skeleton row if bit r % 8 of byte r / 8
///               is 1; no
///                                                   bytes where k = 0 or k = h
///
/// Version 1 had neither interpolative tiles nor `storage` and `skeleton rows`. The bytes of the file depend on what is
/// written, not on the number of ranks or who holds which tile.
///
/// The file stands under a temporary name until finish(). Where a writer is destroyed before that, nothing is left.
class FactorArchiveWriter {
 public:
  /// Collective, as all functions here; every rank gives the same info. `comm` outlives the writer.
  FactorArchiveWriter(const comm::Communicator& comm, const std::filesystem::path& path, const ArchiveInfo& info);
  ~FactorArchiveWriter();
  FactorArchiveWriter(const FactorArchiveWriter&) = delete;
  FactorArchiveWriter& operator=(const FactorArchiveWriter&) = delete;

  /// Adds a matrix. Name and grid are the same on every rank; the ranks' tiles follow each other in rank order and are
  /// together all tiles. Names are unique, not empty and free of '/'.
  void write(const MatrixPart& part);

  /// Flushes, closes and puts the archive in its place.
  void finish();

 private:
  void write_group(const MatrixPart& part);

  const comm::Communicator& comm_;
  CompressOptions compression_;
  io::TemporaryFile temporary_;
  Hdf5Id file_;
  Hdf5Id matrices_;
};

}  // namespace hack::svd
