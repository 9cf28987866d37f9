#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "io/durable_file.hpp"
#include "io/temporary_file.hpp"

namespace hack::io {

/// A large file in the making, written from one end to the other: under a temporary name until finish(), gone where the
/// run ends before that. An Error names the file where a byte cannot be written.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Bytes written so far.
  std::uint64_t size() const { return size_; }

  /// Waits until all of it is on the disk and puts it in its place.
  void finish();

 private:
  TemporaryFile temporary_;
  DurableFile file_;
  std::uint64_t size_ = 0;
};

}  // namespace hack::io
