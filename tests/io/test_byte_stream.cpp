#include "io/byte_stream.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hack::io {
namespace {

TEST(ByteStream, GivesBackWhatWasPut) {
  ByteWriter writer;
  writer.put(std::int64_t{-3});
  writer.put(std::string("tile"));
  writer.put(std::vector<float>{1.5f, -2.0f});
  writer.put(std::vector<int>());
  ByteReader reader(writer.bytes());
  EXPECT_FALSE(reader.at_end());
  EXPECT_EQ(reader.get<std::int64_t>(), -3);
  EXPECT_EQ(reader.get_text(), "tile");
  EXPECT_EQ(reader.get_vector<float>(), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_TRUE(reader.get_vector<int>().empty());
  EXPECT_TRUE(reader.at_end());
  EXPECT_THROW(reader.get<char>(), Error);
}

TEST(ByteStream, DoesNotBelieveALength) {
  ByteWriter writer;
  writer.put(std::int64_t{1} << 60);
  ByteReader reader(writer.bytes());
  EXPECT_THROW(reader.get_vector<double>(), Error);
}

}  // namespace
}  // namespace hack::io
