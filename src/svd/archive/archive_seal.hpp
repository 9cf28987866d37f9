#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "kernels/dtype.hpp"
#include "kernels/error.hpp"

namespace hack::svd {

/// A file does not end as a factor archive of this version does.
class UnreadableArchive : public Error {
 public:
  using Error::Error;
};

/// Bytes of a file: [begin, begin + size).
struct FileRange {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
};

/// The seal of an archive stands behind the HDF5 file, which readers of HDF5 ignore:
///
///     HDF5 file | range 0 | range 1 | … | count | digest | "HACKSEAL"
///               each two 64-bit numbers   8       8        8            little-endian
///
/// Ranges are those of the datasets whose bytes have digests of their own (a term, a tile's values). The digest is of
/// all other bytes in front of it: HDF5's own structures, tables, ranges and count. So a file is known to be whole
/// before HDF5, which crashes on some damaged files, opens it.
///
/// Writes the seal of a finished file. Ranges are sorted and apart.
void seal_archive(const std::filesystem::path& path, const std::vector<FileRange>& ranges);

/// Returns the ranges of a sealed file. An Error that names the file where it has no seal (an UnreadableArchive: of an
/// older version, or cut short), or where a byte outside the ranges is not as it was written.
std::vector<FileRange> check_seal(const std::filesystem::path& path);

}  // namespace hack::svd
