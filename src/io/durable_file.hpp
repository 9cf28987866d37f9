#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace hack::io {

/// A file that is written from one end to the other and waited for: what flush() has returned from outlives the
/// machine. An Error naming the file where that fails.
class DurableFile {
 public:
  enum class Begin { empty, at_end };

  /// Makes the file if it is not there. `advice` ends what errors say.
  DurableFile(std::filesystem::path path, Begin begin, std::string advice = "the run keeps its finished steps there");
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(const std::string& text);
  void flush();

 private:
  void check(bool ok) const;

  std::filesystem::path path_;
  std::string advice_;
  int file_;
};

}  // namespace hack::io
