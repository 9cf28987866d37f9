#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace hack::model {

/// Reads a message in the wire format of protocol buffers field by field (Google, "Protocol Buffers: Encoding"): a key
/// (number · 8 + kind) as a varint, then a varint, 8 bytes, a length with that many bytes, or 4 bytes. Not trusted.
class WireReader {
 public:
  /// A field: its number with what it holds. Of the values one has a meaning, by the field's kind.
  struct Field {
    std::uint64_t number = 0;
    std::uint64_t whole = 0;                ///< varint, or the bits of 8 or 4 bytes
    std::optional<std::string_view> bytes;  ///< text, or a message of its own
  };

  /// `source` names the file in errors; both outlive this.
  WireReader(std::string_view message, std::string_view source) : rest_(message), source_(source) {}

  /// The next field; nothing at the message's end. An Error where the message is cut short or of no known kind.
  std::optional<Field> next();

 private:
  std::uint64_t varint();
  std::uint64_t fixed(std::size_t bytes);
  std::string_view take(std::uint64_t bytes);

  std::string_view rest_;
  std::string_view source_;
};

}  // namespace hack::model
