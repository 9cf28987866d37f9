#include "model/tokenizer/wire_reader.hpp"

#include "kernels/error.hpp"

namespace hack::model {

std::string_view WireReader::take(std::uint64_t bytes) {
  validate(bytes <= rest_.size(), "{} is cut short or damaged (a field of {} bytes, {} are left) fetch it again",
           source_, bytes, rest_.size());
  const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(bytes));
  rest_.remove_prefix(taken.size());
  return taken;
}

std::uint64_t WireReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1).front());
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail("{} is damaged (a number of more than 64 bits)", source_);
}

std::uint64_t WireReader::fixed(std::size_t bytes) {
  const std::string_view from = take(bytes);
  std::uint64_t value = 0;  // little-endian
  for (std::size_t i = 0; i < bytes; ++i)
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(from[i])) << (8 * i);
  return value;
}

std::optional<WireReader::Field> WireReader::next() {
  if (rest_.empty()) return {};
  const std::uint64_t key = varint();
  Field field{key >> 3, 0, {}};
  switch (key & 7) {
    case 0:
      field.whole = varint();
      break;
    case 1:
      field.whole = fixed(8);
      break;
    case 2:
      field.bytes = take(varint());
      break;
    case 5:
      field.whole = fixed(4);
      break;
    default:
      fail("{} is damaged (a field of kind {}, 0, 1, 2 or 5 expected)", source_, key & 7);
  }
  return field;
}

}  // namespace hack::model
