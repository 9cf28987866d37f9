#include "tests/support/gguf_writer.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "kernels/error.hpp"

namespace hack::testing {

using model::GgmlType;

GgufWriter::GgufWriter(std::uint32_t alignment) : alignment_(alignment) {
  if (alignment != 32) add_integer("general.alignment", alignment);
}

ByteString& GgufWriter::add_key(const std::string& key, std::uint32_t kind) {
  ++values_;
  return metadata_.add_text(key).add(kind);
}

void GgufWriter::add_integer(const std::string& key, std::uint32_t value) { add_key(key, 4).add(value); }
void GgufWriter::add_number(const std::string& key, float value) { add_key(key, 6).add(value); }
void GgufWriter::add_flag(const std::string& key, bool value) { add_key(key, 7).add(static_cast<std::uint8_t>(value)); }
void GgufWriter::add_text(const std::string& key, const std::string& value) { add_key(key, 8).add_text(value); }

void GgufWriter::add_integers(const std::string& key, const std::vector<std::int32_t>& values) {
  add_key(key, 9).add(std::uint32_t{5}).add(static_cast<std::uint64_t>(values.size()));
  for (const std::int32_t value : values) metadata_.add(value);
}

void GgufWriter::add_numbers(const std::string& key, const std::vector<float>& values) {
  add_key(key, 9).add(std::uint32_t{6}).add(static_cast<std::uint64_t>(values.size()));
  for (const float value : values) metadata_.add(value);
}

void GgufWriter::add_texts(const std::string& key, const std::vector<std::string>& values) {
  add_key(key, 9).add(std::uint32_t{8}).add(static_cast<std::uint64_t>(values.size()));
  for (const std::string& value : values) metadata_.add_text(value);
}

void GgufWriter::add_value(const std::string& key, const std::string& bytes) {
  ++values_;
  metadata_.add_text(key).add_bytes(bytes);
}

void GgufWriter::add_tensor(const std::string& name, const std::vector<index_t>& dims, GgmlType type,
                            std::string bytes) {
  tensors_.push_back({name, dims, type, std::move(bytes)});
}

ByteString GgufWriter::header() const {
  ByteString out;
  out.add_bytes("GGUF").add(std::uint32_t{3}).add(static_cast<std::uint64_t>(tensors_.size())).add(values_);
  out.add_bytes(metadata_.bytes());
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    out.add_text(tensor.name).add(static_cast<std::uint32_t>(tensor.dims.size()));
    for (const index_t extent : tensor.dims) out.add(static_cast<std::uint64_t>(extent));
    out.add(static_cast<std::uint32_t>(tensor.type)).add(offset);
    offset += (tensor.bytes.size() + alignment_ - 1) / alignment_ * alignment_;
  }
  return out;
}

std::size_t GgufWriter::header_size() const { return header().bytes().size(); }

std::string GgufWriter::bytes() const {
  ByteString out = header();
  for (const Tensor& tensor : tensors_) {
    out.pad(alignment_);
    out.add_bytes(tensor.bytes);
  }
  return out.bytes();
}

namespace {

void add_half(ByteString& out, float x) { out.add(to_f16(x).bits); }

int nearest(float x, int low, int high) { return std::clamp(static_cast<int>(std::lround(x)), low, high); }

/// Two numbers of four bits a byte: i below 16 + i.
void add_nibbles(ByteString& out, const int* q) {
  for (int i = 0; i < 16; ++i) out.add(static_cast<std::uint8_t>(q[i] | q[16 + i] << 4));
}

void add_small_block(ByteString& out, GgmlType type, const float* x) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float largest = std::max(std::fabs(*low), std::fabs(*high));
  int q[32];
  if (type == GgmlType::q4_1) {
    const float scale = (*high - *low) / 15.0f;
    for (int i = 0; i < 32; ++i) q[i] = scale > 0 ? nearest((x[i] - *low) / scale, 0, 15) : 0;
    add_half(out, scale);
    add_half(out, *low);
    return add_nibbles(out, q);
  }
  const float scale = largest / (type == GgmlType::q8_0 ? 127.0f : 7.0f);
  add_half(out, scale);
  for (int i = 0; i < 32; ++i) q[i] = scale > 0 ? nearest(x[i] / scale, -127, 127) : 0;
  if (type == GgmlType::q8_0) {
    for (const int value : q) out.add(static_cast<std::int8_t>(value));
  } else {
    for (int& value : q) value = std::clamp(value + 8, 0, 15);
    add_nibbles(out, q);
  }
}

/// Scales are drawn so that numbers spread evenly around zero and reach about `largest`.
void add_large_block(ByteString& out, GgmlType type, float largest, std::mt19937_64& random) {
  const auto add_random = [&](int n) {
    for (int i = 0; i < n; ++i) out.add(static_cast<std::uint8_t>(random()));
  };
  if (type == GgmlType::q6_k) {
    add_random(128 + 64);
    for (int i = 0; i < 16; ++i) out.add(static_cast<std::int8_t>(random() % 128));
    return add_half(out, largest / (127.0f * 32.0f));
  }
  const float levels = type == GgmlType::q4_k ? 15.0f : 31.0f;
  const float scale = 2.0f * largest / (63.0f * levels);
  add_half(out, scale);
  add_half(out, scale * levels / 2.0f);
  // Minima equal scales: bytes 4-7 repeat 0-3, bytes 8-11 have the same number in both halves.
  const auto four = static_cast<std::uint32_t>(random());
  out.add(four).add(four);
  for (int i = 0; i < 4; ++i) {
    const auto nibble = static_cast<std::uint8_t>(random() % 16);
    out.add(static_cast<std::uint8_t>(nibble | nibble << 4));
  }
  add_random(type == GgmlType::q4_k ? 128 : 32 + 128);
}

}  // namespace

std::string encode(GgmlType type, const float* x, index_t n, std::uint64_t seed) {
  HACK_EXPECT(n % model::block_size(type) == 0);
  ByteString out;
  std::mt19937_64 random(seed);
  const index_t block = model::block_size(type);
  for (const float* end = x + n; x < end; x += block) {
    if (type == GgmlType::f32) {
      out.add(*x);
    } else if (type == GgmlType::f16) {
      out.add(to_f16(*x).bits);
    } else if (type == GgmlType::bf16) {
      out.add(to_bf16(*x).bits);
    } else if (block == 32) {
      add_small_block(out, type, x);
    } else {
      const float largest =
          std::fabs(*std::max_element(x, x + block, [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
      add_large_block(out, type, largest, random);
    }
  }
  return out.bytes();
}

}  // namespace hack::testing
