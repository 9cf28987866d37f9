#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "io/mapping_guard.hpp"

namespace hack::io {

/// A file mapped into memory, read only: bytes come from the disk when they are looked at. The run ends with a message
/// that names the file where they cannot be had (MappingGuard).
class MappedFile {
 public:
  /// An Error with the system's own message if the file cannot be opened or mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  /// Bytes [offset, offset + size); an Error if they do not all lie in the file.
  std::span<const std::byte> bytes(std::uint64_t offset, std::uint64_t size) const;
  std::span<const std::byte> bytes() const { return {data_, static_cast<std::size_t>(size_)}; }

  /// An Error where the file has another size than when it was opened. What was read before the call is then what the
  /// file held: behind the end of a file that was cut short, the rest of a page reads as zeros.
  void check_size() const;

  /// Gives the pages around `range`, a part of this file, back to the system, so that weights once read do not count as
  /// resident memory. They stay readable; any thread may be reading them meanwhile.
  void release(std::span<const std::byte> range) const noexcept;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  int file_ = -1;
  std::optional<MappingGuard> guard_;
};

}  // namespace hack::io
