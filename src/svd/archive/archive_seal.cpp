#include "svd/archive/archive_seal.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>
#include <string>

#include <fcntl.h>
#include <unistd.h>

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

/// A file that is read at any place, each of its bytes about once: without the buffer of a stream, which takes longer
/// than the digest.
class PlacedReads {
 public:
  explicit PlacedReads(const std::filesystem::path& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    validate(file_ >= 0, "cannot read {} ({})", path.string(), std::strerror(errno));
  }
  ~PlacedReads() { ::close(file_); }
  PlacedReads(const PlacedReads&) = delete;
  PlacedReads& operator=(const PlacedReads&) = delete;

  /// Reads the bytes from `begin` on; an Error where there are not as many.
  void read(std::uint64_t begin, std::span<std::byte> to) const {
    while (!to.empty()) {
      const ::ssize_t count = ::pread(file_, to.data(), to.size(), static_cast<::off_t>(begin));
      if (count < 0 && errno == EINTR) continue;
      validate(count > 0, "it cannot be read to its end ({})", count == 0 ? "it became shorter" : std::strerror(errno));
      to = to.subspan(static_cast<std::size_t>(count));
      begin += static_cast<std::uint64_t>(count);
    }
  }

 private:
  int file_;
};

/// Adds `size` bytes from `begin` on, in pieces that stay in the cache until they are digested.
void add_range(const PlacedReads& file, std::uint64_t begin, std::uint64_t size, std::span<std::byte> piece,
               io::Digest& digest) {
  while (size > 0) {
    const std::span now = piece.first(static_cast<std::size_t>(std::min<std::uint64_t>(size, piece.size())));
    file.read(begin, now);
    digest.add(now);
    begin += now.size();
    size -= now.size();
  }
}

/// Of the file's first `size` bytes without the ranges, and of the seal's ranges and count.
std::uint64_t digest_outside(const PlacedReads& file, std::uint64_t size, const std::vector<FileRange>& ranges) {
  io::Digest digest;
  std::vector<std::byte> piece(64 << 10);
  std::uint64_t begin = 0;
  for (const FileRange& range : ranges) {
    add_range(file, begin, range.begin - begin, piece, digest);
    begin = range.begin + range.size;
  }
  add_range(file, begin, size - begin, piece, digest);
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

bool is_hdf5(const PlacedReads& file, std::uint64_t file_size) {
  std::array<char, 8> signature{};
  if (file_size < signature.size()) return false;
  file.read(0, std::as_writable_bytes(std::span(signature)));
  return std::memcmp(signature.data(), "\x89HDF\r\n\x1a\n", signature.size()) == 0;
}

std::vector<FileRange> read_seal(const PlacedReads& file, std::uint64_t file_size) {
  Tail tail;
  if (file_size >= sizeof(tail)) file.read(file_size - sizeof(tail), std::as_writable_bytes(std::span(&tail, 1)));
  if (std::memcmp(tail.magic, magic, sizeof(magic)) != 0) {
    validate(is_hdf5(file, file_size), "this is not a factor archive (it is no HDF5 file)");
    throw UnreadableArchive(
        "it does not end as a factor archive does: it is damaged, cut short, or of a version of the format that is no "
        "longer read");
  }
  const std::uint64_t room = (file_size - sizeof(tail)) / sizeof(FileRange);
  validate(tail.count <= room, "its seal lists {} ranges, for which the file is too small: it is damaged", tail.count);
  const std::uint64_t hdf5_size = file_size - sizeof(tail) - tail.count * sizeof(FileRange);
  std::vector<FileRange> ranges(static_cast<std::size_t>(tail.count));
  file.read(hdf5_size, std::as_writable_bytes(std::span(ranges)));
  validate(are_apart(ranges, hdf5_size), "the ranges of its seal are impossible: it is damaged");
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
  tail.digest = digest_outside(PlacedReads(path), size, ranges);
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
  const PlacedReads file(path);
  try {
    return read_seal(file, static_cast<std::uint64_t>(size));
  } catch (const UnreadableArchive& error) {
    throw UnreadableArchive(path.string() + ": " + error.what());
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

}  // namespace hack::svd
