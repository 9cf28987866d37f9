#pragma once

#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/dtype.hpp"
#include "kernels/error.hpp"

namespace hack::io {

/// Structures as they lie in memory, with zeros between their members, all of which are given: what a compiler leaves
/// there may be anything.
template <class T, class... Members>
std::string bytes_without_gaps(const std::vector<T>& rows, Members T::*... members) {
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(sizeof(T) - (sizeof(Members) + ...) < alignof(T), "a member is missing");
  std::string bytes(rows.size() * sizeof(T), '\0');
  char* to = bytes.data();
  for (const T& row : rows) {
    const auto* from = reinterpret_cast<const char*>(&row);
    const auto copy = [&](const auto& member) {
      std::memcpy(to + (reinterpret_cast<const char*>(&member) - from), &member, sizeof(member));
    };
    (copy(row.*members), ...);
    to += sizeof(T);
  }
  return bytes;
}

/// Values one after the other as this machine holds them, for files that the same program reads again. No padding is
/// made up: T is trivially copyable. It is not CBOR or MessagePack, which the JSON library would write, because their
/// values own what they hold: a record would be copied once into a value and once into bytes, where PieceWriter copies
/// no array, and every field would still be checked by hand when it is read.
class ByteWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(const T& value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T)); }
  template <class T>
  void put(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    put(std::ssize(values));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  /// Of structures with gaps between these, all their members; get_vector reads them.
  template <class T, class... Members>
  void put_rows(const std::vector<T>& rows, Members T::*... members) {
    put(std::ssize(rows));
    bytes_.append(bytes_without_gaps(rows, members...));
  }
  void put(const std::string& text) {
    put(std::ssize(text));
    bytes_.append(text);
  }

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// The same bytes as ByteWriter's, as pieces: what vectors hold is not copied, so they outlive this and do not change.
class PieceWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(const T& value) { copy(&value, sizeof(T)); }
  template <class T>
  void put(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    put(std::ssize(values));
    pieces_.push_back(std::as_bytes(std::span(values)));
  }
  /// As ByteWriter's; copied.
  template <class T, class... Members>
  void put_rows(const std::vector<T>& rows, Members T::*... members) {
    put(std::ssize(rows));
    const std::string bytes = bytes_without_gaps(rows, members...);
    copy(bytes.data(), bytes.size());
  }
  void put(const std::string& text) {
    put(std::ssize(text));
    copy(text.data(), text.size());
  }

  const std::vector<std::span<const std::byte>>& pieces() const { return pieces_; }

 private:
  void copy(const void* from, std::size_t size) {
    copies_.emplace_back(static_cast<const char*>(from), size);  // a deque: strings stay where they are
    pieces_.push_back(std::as_bytes(std::span(copies_.back())));
  }

  std::deque<std::string> copies_;
  std::vector<std::span<const std::byte>> pieces_;
};

/// Reads such values in the same order. An Error where they end too soon.
class ByteReader {
 public:
  /// `bytes` outlive this.
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  bool at_end() const { return at_ == bytes_.size(); }

  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    copy(&value, sizeof(T));
    return value;
  }
  template <class T>
  std::vector<T> get_vector() {
    std::vector<T> values(count(sizeof(T)));
    copy(values.data(), values.size() * sizeof(T));
    return values;
  }
  std::string get_text() {
    std::string text(count(1), '\0');
    copy(text.data(), text.size());
    return text;
  }
  /// The next `size` bytes as they are.
  void copy(void* to, std::size_t size) {
    validate(size <= bytes_.size() - at_, "a record of {} bytes is too short", bytes_.size());
    if (size > 0) std::memcpy(to, bytes_.data() + at_, size);
    at_ += size;
  }

 private:
  std::size_t count(std::size_t size) {
    const auto count = get<std::ptrdiff_t>();
    validate(count >= 0 && static_cast<std::size_t>(count) <= (bytes_.size() - at_) / size,
             "a record is too short ({} bytes for {} values)", bytes_.size(), count);
    return static_cast<std::size_t>(count);
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
};

}  // namespace hack::io
