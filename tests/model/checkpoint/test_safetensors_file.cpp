#include "model/checkpoint/safetensors_file.hpp"

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

using hack::testing::ByteString;
using hack::testing::TemporaryDirectory;
using hack::testing::write_file;

std::string file_of(const std::string& header, std::size_t data) {
  ByteString out;
  out.add_text(header).add_bytes(std::string(data, '\1'));
  return out.bytes();
}

/// Text of the Error that opening these bytes gives; empty if it gives none.
std::string error_of(const std::string& bytes) {
  const TemporaryDirectory directory;
  write_file(directory / "a.safetensors", bytes);
  try {
    const SafetensorsFile file(directory / "a.safetensors");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// One tensor "t" before 64 bytes of data.
std::string one_tensor(const std::string& type, const std::string& shape, const std::string& offsets) {
  return file_of(R"({"t":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", 64);
}

const std::string small_header =
    R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("v":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"n":{"dtype":"F8_E4M3","shape":[],"data_offsets":[32,33]}}  )";

TEST(SafetensorsFile, ListsTensors) {
  const TemporaryDirectory directory;
  write_file(directory / "a.safetensors", file_of(small_header, 33));
  const SafetensorsFile file(directory / "a.safetensors");
  ASSERT_EQ(file.entries().size(), 3u);
  const SafetensorsEntry* w = file.find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->type, "F32");
  EXPECT_EQ(w->shape, (std::vector<index_t>{2, 3}));
  EXPECT_EQ(w->offset, 8 + small_header.size());
  EXPECT_EQ(w->bytes, 24u);
  EXPECT_EQ(file.find("v")->offset, w->offset + 24);
  EXPECT_EQ(file.find("n")->type, "F8_E4M3");
  EXPECT_EQ(file.find("x"), nullptr);
}

TEST(SafetensorsFile, RefusesAFileCutAnywhere) {
  const std::string whole = file_of(small_header, 33);
  ASSERT_EQ(error_of(whole), "");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size << " bytes";
  }
}

TEST(SafetensorsFile, SurvivesAnyDamagedByte) {
  const std::string whole = file_of(small_header, 33);
  for (std::size_t i = 0; i < 8 + small_header.size(); ++i) {
    for (const int flip : {0x01, 0x02, 0x10, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      error_of(damaged);
    }
  }
}

TEST(SafetensorsFile, RefusesAbsurdHeaderLengths) {
  for (const std::uint64_t length : {std::uint64_t{65}, std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    ByteString out;
    out.add(length).add_bytes(std::string(64, ' '));
    EXPECT_NE(error_of(out.bytes()), "") << length;
  }
}

TEST(SafetensorsFile, RefusesHeadersThatAreNotWhatTheyShouldBe) {
  for (const char* header :
       {"", "[]", "null", "{", R"({"t":1})", R"({"t":{}})", R"({"t":{"dtype":"F32"}})", "{\"t\xff\":{}}"}) {
    EXPECT_NE(error_of(file_of(header, 64)), "") << header;
  }
  const std::string t = R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_EQ(error_of(file_of("{" + t + "}", 4)), "");
  EXPECT_NE(error_of(file_of("{" + t + "," + t + "}", 64)).find("'t' appears twice"), std::string::npos);
  EXPECT_NE(error_of(file_of(std::string(100000, '['), 0)), "") << "deep nesting";
}

TEST(SafetensorsFile, RefusesTensorsThatDoNotFit) {
  EXPECT_EQ(error_of(one_tensor(R"("F32")", "[4,4]", "[0,64]")), "");
  EXPECT_NE(error_of(one_tensor(R"("F16")", "[0,4]", "[8,8]")).find("belong to no tensor"), std::string::npos);
  const char* damaged[][3] = {
      {R"("F32")", "[4,4]", "[0,60]"},                     // other size
      {R"("F32")", "[4,5]", "[0,80]"},                     // beyond the end
      {R"("F32")", "[4,4]", "[64,0]"},                     // backwards
      {R"("F32")", "[1]", "[-4,0]"},                       // negative
      {R"("F32")", "[-1,-4]", "[0,16]"},                   // negative extents
      {R"("F32")", "[4294967296,4294967296]", "[0,0]"},    // product overflows to 0
      {R"("BOOL")", "[9223372036854775807,2]", "[0,62]"},  // overflows
      {R"("F32")", "[1]", "[0,4,8]"},
      {R"("F32")", "[1]", "[0]"},
      {R"("F32")", "[1]", "4"},
      {R"("F32")", "1", "[0,4]"},
      {R"("F32")", "[1.0]", "[0,4]"},
      {R"("F32")", "[\"1\"]", "[0,4]"},
      {R"("F32")", "[1]", "[0,18446744073709551615]"},
      {"7", "[1]", "[0,4]"},
      {R"("X")", "[1]", "[0,65]"},
  };
  for (const auto& [type, shape, offsets] : damaged) {
    EXPECT_NE(error_of(one_tensor(type, shape, offsets)).find("'t'"), std::string::npos) << type << shape << offsets;
  }
}

TEST(SafetensorsFile, RefusesTensorsThatOverlap) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
  EXPECT_NE(error_of(file_of(header, 12)).find("'a' and 'b' overlap"), std::string::npos);
}

}  // namespace
}  // namespace hack::model
