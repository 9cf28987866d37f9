#include "tests/support/mutator.hpp"

#include <algorithm>
#include <cstring>

namespace hack::testing {

std::string Mutator::next() {
  std::string bytes = seeds_[below(seeds_.size())];
  for (std::size_t n = 1 + below(8); n > 0; --n) change(bytes);
  return bytes;
}

void Mutator::change(std::string& bytes) {
  const std::size_t at = below(bytes.size());
  switch (below(6)) {
    case 0:
      if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      return;
    case 1:
      if (!bytes.empty()) bytes[at] = static_cast<char>(random_());
      return;
    case 2:
      return change_number(bytes);
    case 3:
      return change_digits(bytes);
    case 4:
      if (below(4) == 0) bytes.resize(at);  // cut short
      return;
    default:
      return change_piece(bytes);
  }
}

void Mutator::change_piece(std::string& bytes) {
  const std::size_t at = below(bytes.size()), length = std::min(bytes.size() - at, std::size_t{1} << below(9));
  const std::string& other = seeds_[below(seeds_.size())];
  const std::size_t from = below(other.size());
  switch (below(4)) {
    case 0:
      bytes.erase(at, length);
      return;
    case 1:
      bytes.insert(at, bytes.substr(at, length));
      return;
    case 2:
      bytes.insert(at, std::string(std::size_t{1} << below(5), static_cast<char>(random_())));
      return;
    default:
      bytes.replace(at, length, other, from, std::size_t{1} << below(9));
  }
}

void Mutator::change_number(std::string& bytes) {
  const std::size_t width = std::size_t{1} << below(4);
  if (bytes.size() < width) return;
  constexpr std::uint64_t limits[] = {0,
                                      1,
                                      2,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x7fff,
                                      0x8000,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      1ull << 32,
                                      1ull << 40,
                                      1ull << 62,
                                      1ull << 63,
                                      ~0ull,
                                      ~0ull - 7,
                                      0x7fc00000,
                                      0x7f800000,
                                      0xff800000u,
                                      0x7ff0ull << 48,
                                      0x7ff8ull << 48,
                                      0x7e007c00};
  std::uint64_t number = limits[below(std::size(limits))];
  std::size_t at = below(bytes.size() - width + 1);
  if (below(2) == 0) at = at / width * width;
  if (below(4) == 0) {  // a little more or less than it was
    std::memcpy(&number, bytes.data() + at, width);
    number += below(9) - 4;
  }
  std::memcpy(bytes.data() + at, &number, width);
}

void Mutator::change_digits(std::string& bytes) {
  const std::string digits = "0123456789";
  std::size_t at = bytes.find_first_of(digits, below(bytes.size()));
  if (at == std::string::npos) return;
  const std::size_t end = std::min(bytes.find_first_not_of(digits, at), bytes.size());
  const char* const texts[] = {"0",  "-1", "1.5",        "1e308",      "1e999", "4294967296", "9223372036854775807",
                               "{}", "[]", "\"\"",       "null",       "true",  "NaN",        "18446744073709551616",
                               "2",  "64", "2147483648", "-4294967296"};
  bytes.replace(at, end - at, texts[below(std::size(texts))]);
}

}  // namespace hack::testing
