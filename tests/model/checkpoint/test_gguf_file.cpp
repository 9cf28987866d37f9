#include "model/checkpoint/gguf_file.hpp"

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

using hack::testing::ByteString;
using hack::testing::encode;
using hack::testing::GgufWriter;
using hack::testing::TemporaryDirectory;
using hack::testing::write_file;

constexpr std::uint32_t u32 = 4, f32 = 6, string_kind = 8, array_kind = 9, u64 = 10;

GgufWriter small_file(std::uint32_t alignment = 32) {
  GgufWriter out(alignment);
  out.add_text("name", "héllo");
  out.add_integer("count", 4000000000u);
  out.add_number("share", 0.25f);
  out.add_flag("on", true);
  out.add_integers("list", {1, -2, 3});
  out.add_numbers("reals", {0.5f, -1.5f});
  out.add_texts("words", {"a", "", "ccc"});
  const float x[] = {1, 2, 3, 4, 5, 6};
  out.add_tensor("w", {3, 2}, GgmlType::f32, encode(GgmlType::f32, x, 6, 0));
  out.add_tensor("v", {4}, GgmlType::bf16, encode(GgmlType::bf16, x, 4, 0));
  return out;
}

/// Text of the Error that opening these bytes gives; empty if it gives none.
std::string error_of(const std::string& bytes) {
  const TemporaryDirectory directory;
  write_file(directory / "file.gguf", bytes);
  try {
    const GgufFile file(directory / "file.gguf");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// A header by hand: version 3 and the counts.
ByteString start(std::uint64_t tensors, std::uint64_t values) {
  ByteString out;
  out.add_bytes("GGUF").add(std::uint32_t{3}).add(tensors).add(values);
  return out;
}

/// A file of one tensor "t" of F32 with 64 bytes of data.
std::string one_tensor(const std::vector<std::uint64_t>& dims, std::uint32_t type, std::uint64_t offset) {
  ByteString out = start(1, 0);
  out.add_text("t").add(static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t extent : dims) out.add(extent);
  out.add(type).add(offset);
  out.pad(32);
  out.add_bytes(std::string(64, '\0'));
  return out.bytes();
}

TEST(GgufFile, ReadsMetadataOfEveryKind) {
  const TemporaryDirectory directory;
  write_file(directory / "a.gguf", small_file().bytes());
  const GgufFile file(directory / "a.gguf");
  EXPECT_EQ(file.find_string("name"), "héllo");
  EXPECT_EQ(file.find_integer("count"), 4000000000);
  EXPECT_EQ(file.find_number("count"), 4e9);
  EXPECT_EQ(file.find_number("share"), 0.25);
  EXPECT_EQ(file.find_bool("on"), true);
  EXPECT_EQ(file.integers("list"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(file.numbers("list"), (std::vector<double>{1, -2, 3}));
  EXPECT_EQ(file.numbers("reals"), (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(file.strings("words"), (std::vector<std::string>{"a", "", "ccc"}));
  EXPECT_EQ(file.find_integer("absent"), std::nullopt);
  EXPECT_TRUE(file.has("words"));
  EXPECT_FALSE(file.has("absent"));
}

TEST(GgufFile, RefusesValuesOfAnotherKind) {
  const TemporaryDirectory directory;
  write_file(directory / "a.gguf", small_file().bytes());
  const GgufFile file(directory / "a.gguf");
  EXPECT_THROW(file.find_integer("name"), Error);
  EXPECT_THROW(file.find_integer("share"), Error);
  EXPECT_THROW(file.find_bool("count"), Error);
  EXPECT_THROW(file.find_string("on"), Error);
  EXPECT_THROW(file.find_number("words"), Error);
  EXPECT_THROW(file.strings("list"), Error);
  EXPECT_THROW(file.integers("reals"), Error);
  EXPECT_THROW(file.numbers("words"), Error);
  EXPECT_THROW(file.strings("name"), Error);
  EXPECT_THROW(file.strings("absent"), Error);
}

TEST(GgufFile, FindsTensorsUnderAnyAlignment) {
  for (const std::uint32_t alignment : {1u, 8u, 32u, 4096u}) {
    const TemporaryDirectory directory;
    write_file(directory / "a.gguf", small_file(alignment).bytes());
    const GgufFile file(directory / "a.gguf");
    ASSERT_EQ(file.tensors().size(), 2u);
    const GgufTensor* w = file.find_tensor("w");
    ASSERT_NE(w, nullptr);
    EXPECT_EQ(w->dims, (std::vector<index_t>{3, 2}));
    EXPECT_EQ(w->offset % alignment, 0u);
    float row[3];
    dequantize(w->type, file.tensor_bytes(*w).data() + row_bytes(w->type, 3), 0, 3, row);
    EXPECT_EQ(row[0], 4.0f);
    EXPECT_EQ(row[2], 6.0f);
    const GgufTensor* v = file.find_tensor("v");
    ASSERT_NE(v, nullptr);
    EXPECT_EQ(v->type, GgmlType::bf16);
    EXPECT_EQ(file.tensor_bytes(*v).size(), 8u);
    EXPECT_EQ(file.find_tensor("x"), nullptr);
  }
}

TEST(GgufFile, RefusesAFileCutAnywhere) {
  const std::string whole = small_file().bytes();
  ASSERT_EQ(error_of(whole), "");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size << " bytes";
  }
}

// What a flipped byte makes of the file may still be a file; it must never be anything but an Error otherwise.
TEST(GgufFile, SurvivesAnyDamagedByte) {
  const std::string whole = small_file().bytes();
  for (std::size_t i = 0; i < small_file().header_size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      error_of(damaged);
    }
  }
}

TEST(GgufFile, RefusesOtherFilesAndVersions) {
  EXPECT_NE(error_of("GGML and so on").find("not a GGUF file"), std::string::npos);
  ByteString old;
  old.add_bytes("GGUF").add(std::uint32_t{1}).add(std::uint64_t{0}).add(std::uint64_t{0});
  EXPECT_NE(error_of(old.bytes()).find("version 1"), std::string::npos);
  ByteString big_endian;
  big_endian.add_bytes("GGUF").add(std::uint32_t{3u << 24}).add(std::uint64_t{0}).add(std::uint64_t{0});
  EXPECT_NE(error_of(big_endian.bytes()).find("little-endian"), std::string::npos);
  EXPECT_THROW(GgufFile("/no/such/file.gguf"), Error);
  EXPECT_THROW(GgufFile("/"), Error);
}

TEST(GgufFile, RefusesAbsurdCounts) {
  const std::uint64_t huge = ~std::uint64_t{0};
  EXPECT_NE(error_of(start(huge, 0).bytes()), "");
  EXPECT_NE(error_of(start(0, huge).bytes()), "");
  const auto array = [&](std::uint32_t kind, std::uint64_t count) {
    ByteString out = start(0, 1);
    out.add_text("key").add(array_kind).add(kind).add(count).add_bytes(std::string(64, '\0'));
    return error_of(out.bytes());
  };
  EXPECT_NE(array(string_kind, huge), "");
  EXPECT_NE(array(string_kind, 9), "");  // 8 empty texts fit
  EXPECT_EQ(array(string_kind, 8), "");
  EXPECT_NE(array(u64, huge), "");
  EXPECT_NE(array(u64, huge / 8 + 2), "");  // bytes overflow to 8
  EXPECT_NE(array(u32, 17), "");
  EXPECT_NE(array(array_kind, 1), "");
  EXPECT_NE(array(99, 1), "");
}

TEST(GgufFile, RefusesAbsurdTexts) {
  ByteString key = start(0, 1);
  key.add(~std::uint64_t{0}).add_bytes("key");
  EXPECT_NE(error_of(key.bytes()), "");
  ByteString empty = start(0, 1);
  empty.add_text("").add(u32).add(std::uint32_t{1});
  EXPECT_NE(error_of(empty.bytes()), "");
  ByteString value = start(0, 1);
  value.add_text("key").add(string_kind).add(std::uint64_t{1} << 63).add_bytes("text");
  EXPECT_NE(error_of(value.bytes()), "");
}

TEST(GgufFile, RefusesDuplicates) {
  GgufWriter keys;
  keys.add_integer("key", 1);
  keys.add_integer("key", 2);
  EXPECT_NE(error_of(keys.bytes()).find("'key' appears twice"), std::string::npos);
  GgufWriter tensors;
  for (int i = 0; i < 2; ++i) tensors.add_tensor("t", {1}, GgmlType::f32, std::string(4, '\0'));
  EXPECT_NE(error_of(tensors.bytes()).find("'t' appears twice"), std::string::npos);
}

TEST(GgufFile, RefusesTensorsThatDoNotFit) {
  EXPECT_EQ(error_of(one_tensor({4, 4}, 0, 0)), "");
  EXPECT_EQ(error_of(one_tensor({8}, 0, 32)), "");
  EXPECT_NE(error_of(one_tensor({4, 5}, 0, 0)).find("'t'"), std::string::npos);
  EXPECT_NE(error_of(one_tensor({16}, 0, 32)), "");
  EXPECT_NE(error_of(one_tensor({1}, 0, 4)), "") << "not aligned";
  EXPECT_NE(error_of(one_tensor({1}, 0, ~std::uint64_t{31})), "") << "offset overflows";
  EXPECT_NE(error_of(one_tensor({std::uint64_t{1} << 33, std::uint64_t{1} << 33}, 0, 0)), "") << "product overflows";
  EXPECT_NE(error_of(one_tensor({std::uint64_t{1} << 62}, 0, 0)), "") << "bytes overflow";
  EXPECT_NE(error_of(one_tensor({0, 4}, 0, 0)), "");
  EXPECT_NE(error_of(one_tensor({}, 0, 0)), "");
  EXPECT_NE(error_of(one_tensor({1, 1, 1, 1, 1}, 0, 0)), "");
  EXPECT_NE(error_of(one_tensor({16}, 8, 0)), "") << "half a block";
  EXPECT_EQ(error_of(one_tensor({32}, 16, 0)), "") << "a format that is not known is one only to those who read it";
}

TEST(GgufFile, RefusesTensorsThatOverlap) {
  ByteString out = start(2, 0);
  for (const char* name : {"a", "b"}) {
    out.add_text(name).add(std::uint32_t{1}).add(std::uint64_t{16}).add(std::uint32_t{0});
    out.add(std::uint64_t{name[0] == 'a' ? 0u : 32u});
  }
  out.pad(32);
  out.add_bytes(std::string(96, '\0'));
  EXPECT_NE(error_of(out.bytes()).find("'a' and 'b' overlap"), std::string::npos);
}

TEST(GgufFile, RefusesBadAlignments) {
  for (const std::uint32_t alignment : {0u, 3u, 48u, 1u << 31}) {
    ByteString out = start(0, 1);
    out.add_text("general.alignment").add(u32).add(alignment).add_bytes(std::string(64, '\0'));
    EXPECT_NE(error_of(out.bytes()), "") << alignment;
  }
  ByteString real = start(0, 1);
  real.add_text("general.alignment").add(f32).add(32.0f);
  EXPECT_NE(error_of(real.bytes()), "");
}

}  // namespace
}  // namespace hack::model
