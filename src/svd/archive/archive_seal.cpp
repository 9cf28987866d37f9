#include "svd/archive/archive_seal.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <string>

#include "io/digest.hpp"
#include "kernels/error.hpp"

namespace hack::svd {
namespace {

static_assert(std::endian::native == std::endian::little, "the seal is written as it lies in memory");

constexpr char magic[8] = {'H', 'A', 'C', 'K', 'S', 'E', 'A', 'L'};

/// Behind the ranges.
struct Tail {
  std::uint64_t count = 0;
  std::uint64_t digest = 0;
  char magic[8] = {};
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// Reads `size` bytes at `begin` in pieces.
void add_range(std::ifstream& file, std::uint64_t begin, std::uint64_t size, io::Digest& digest) {
  std::vector<char> piece(static_cast<std::size_t>(std::min<std::uint64_t>(size, 1 << 20)));
  file.seekg(static_cast<std::streamoff>(begin));
  while (size > 0) {
    const auto count = std::min<std::uint64_t>(size, piece.size());
    file.read(piece.data(), static_cast<std::streamsize>(count));
    validate(static_cast<std::uint64_t>(file.gcount()) == count, "it cannot be read to its end");
    digest.add(std::as_bytes(std::span(piece).first(static_cast<std::size_t>(count))));
    size -= count;
  }
}

/// Of the file's first `size` bytes without the ranges, and of the seal's ranges and count.
std::uint64_t digest_outside(std::ifstream& file, std::uint64_t size, const std::vector<FileRange>& ranges) {
  io::Digest digest;
  std::uint64_t begin = 0;
  for (const FileRange& range : ranges) {
    add_range(file, begin, range.begin - begin, digest);
    begin = range.begin + range.size;
  }
  add_range(file, begin, size - begin, digest);
  const auto count = static_cast<std::uint64_t>(ranges.size());
  digest.add(std::as_bytes(std::span(ranges)));
  digest.add(bytes_of(count));
  return digest.value();
}

/// Whether ranges follow each other within the first `size` bytes.
bool are_apart(const std::vector<FileRange>& ranges, std::uint64_t size) {
  std::uint64_t end = 0;
  for (const FileRange& range : ranges) {
    if (range.begin < end || range.begin > size || range.size > size - range.begin) return false;
    end = range.begin + range.size;
  }
  return true;
}

bool is_hdf5(std::ifstream& file) {
  char signature[8] = {};
  file.seekg(0);
  file.read(signature, sizeof(signature));
  return file.gcount() == sizeof(signature) && std::memcmp(signature, "\x89HDF\r\n\x1a\n", sizeof(signature)) == 0;
}

std::vector<FileRange> read_seal(std::ifstream& file, std::uint64_t file_size) {
  Tail tail;
  if (file_size >= sizeof(tail)) {
    file.seekg(static_cast<std::streamoff>(file_size - sizeof(tail)));
    file.read(reinterpret_cast<char*>(&tail), sizeof(tail));
  }
  if (std::memcmp(tail.magic, magic, sizeof(magic)) != 0) {
    file.clear();
    validate(is_hdf5(file), "this is not a factor archive (it is no HDF5 file)");
    throw UnreadableArchive(
        "it does not end as a factor archive does: it is damaged, cut short, or of a version of the format that is no "
        "longer read");
  }
  const std::uint64_t room = (file_size - sizeof(tail)) / sizeof(FileRange);
  validate(tail.count <= room, "its seal lists {} ranges, for which the file is too small: it is damaged", tail.count);
  const std::uint64_t hdf5_size = file_size - sizeof(tail) - tail.count * sizeof(FileRange);
  std::vector<FileRange> ranges(static_cast<std::size_t>(tail.count));
  file.seekg(static_cast<std::streamoff>(hdf5_size));
  file.read(reinterpret_cast<char*>(ranges.data()), static_cast<std::streamsize>(ranges.size() * sizeof(FileRange)));
  validate(file.good() && are_apart(ranges, hdf5_size), "the ranges of its seal are impossible: it is damaged");
  validate(digest_outside(file, hdf5_size, ranges) == tail.digest,
           "its bytes are not those that were written (the digest of its tables differs): it is damaged; copy or make "
           "it anew");
  return ranges;
}

}  // namespace

void seal_archive(const std::filesystem::path& path, const std::vector<FileRange>& ranges) {
  const auto size = static_cast<std::uint64_t>(std::filesystem::file_size(path));
  HACK_EXPECT(are_apart(ranges, size));
  Tail tail{.count = ranges.size()};
  std::memcpy(tail.magic, magic, sizeof(magic));
  {
    std::ifstream file(path, std::ios::binary);
    tail.digest = digest_outside(file, size, ranges);
  }
  std::ofstream file(path, std::ios::binary | std::ios::app);
  file.write(reinterpret_cast<const char*>(ranges.data()),
             static_cast<std::streamsize>(ranges.size() * sizeof(FileRange)));
  file.write(reinterpret_cast<const char*>(&tail), sizeof(tail));
  file.close();
  validate(file.good(), "its seal cannot be written");
}

std::vector<FileRange> check_seal(const std::filesystem::path& path) {
  std::error_code missing;
  const auto size = std::filesystem::file_size(path, missing);
  validate(!missing, "cannot read {} ({})", path.string(), missing.message());
  std::ifstream file(path, std::ios::binary);
  validate(file.is_open(), "cannot read {} (it cannot be opened)", path.string());
  try {
    return read_seal(file, static_cast<std::uint64_t>(size));
  } catch (const UnreadableArchive& error) {
    throw UnreadableArchive(path.string() + ": " + error.what());
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

}  // namespace hack::svd
