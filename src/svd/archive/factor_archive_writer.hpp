#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/companion_files.hpp"
#include "io/temporary_file.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/archive/archive_seal.hpp"
#include "svd/archive/hdf5.hpp"
#include "svd/archive/matrix_part.hpp"

namespace hack::svd {

/// This rank's part of a dataset that all ranks write, in elements.
struct SharedRange {
  index_t first = 0;
  index_t count = 0;
  index_t total = 0;
};

/// Writes a factor archive, all ranks together: docs/archive-format.md says what lies where. The bytes of the file
/// depend on what is written, not on the number of ranks or who holds which tile.
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

  /// Flushes, closes and seals the archive, and puts it in its place.
  void finish();

 private:
  void write_group(const MatrixPart& part);
  void write_bytes(const Hdf5Id& group, const char* name, const SharedRange& range,
                   const std::vector<std::byte>& bytes);

  const comm::Communicator& comm_;
  CompressOptions compression_;
  io::TemporaryFile temporary_;
  io::CompanionFiles companions_;
  Hdf5Id file_;
  Hdf5Id matrices_;
  std::vector<FileRange> digested_;  // datasets whose bytes have digests of their own
};

}  // namespace hack::svd
