#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace hack::jobs {

/// The number that a text is from its first character to its last, a plus before it allowed; nothing where it is none,
/// or none that T holds.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace hack::jobs
