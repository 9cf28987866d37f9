#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace hack::io {

/// Knows a mapped file by its addresses. Where a file is cut short or its disk fails, reading it through its mapping
/// raises SIGBUS, which by itself says neither which file nor which rank: with a guard the run ends with a message that
/// names the file.
class MappingGuard {
 public:
  using OnLoss = void (*)(std::string_view message);

  /// Guards [begin, begin + size) of the file `path`.
  MappingGuard(const std::byte* begin, std::size_t size, const std::string& path);
  ~MappingGuard();
  MappingGuard(MappingGuard&& other) noexcept : slot_(std::exchange(other.slot_, none)) {}
  MappingGuard& operator=(MappingGuard&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }

  /// Has `on_loss` end the run, in place of the message and an exit status of 1. It is called in the thread that read
  /// the file, in the middle of a read: that thread holds no lock then.
  static void on_loss(OnLoss on_loss);

 private:
  static constexpr int none = -1;

  int slot_ = none;
};

}  // namespace hack::io
