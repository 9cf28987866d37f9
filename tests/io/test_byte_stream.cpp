#include "io/byte_stream.hpp"

#include <cstdint>
#include <cstring>
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

struct Gapped {
  std::uint8_t kind = 0;
  std::int32_t rank = 0;
  double energy = 0;
};

/// Two of them in memory that was full of `filler`.
std::vector<Gapped> gapped(char filler) {
  std::vector<Gapped> rows(2);
  std::memset(static_cast<void*>(rows.data()), filler, rows.size() * sizeof(Gapped));
  for (Gapped& row : rows) {
    row.kind = 3;
    row.rank = -7;
    row.energy = 0.5;
  }
  return rows;
}

TEST(ByteStream, SaysNothingOfTheGapsBetweenMembers) {
  std::string records[2];
  for (int i = 0; i < 2; ++i) {
    const std::vector<Gapped> rows = gapped(i == 0 ? '\x55' : '\xaa');
    ByteWriter writer;
    writer.put_rows(rows, &Gapped::kind, &Gapped::rank, &Gapped::energy);
    PieceWriter in_pieces;
    in_pieces.put_rows(rows, &Gapped::kind, &Gapped::rank, &Gapped::energy);
    records[i] = writer.bytes();
    std::string joined;
    for (const auto& piece : in_pieces.pieces())
      joined.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    EXPECT_EQ(joined, records[i]);
  }
  EXPECT_EQ(records[0], records[1]);
  ByteReader reader(records[0]);
  const std::vector<Gapped> read = reader.get_vector<Gapped>();
  EXPECT_TRUE(reader.at_end());
  ASSERT_EQ(read.size(), 2U);
  for (const Gapped& row : read) {
    EXPECT_EQ(row.kind, 3);
    EXPECT_EQ(row.rank, -7);
    EXPECT_EQ(row.energy, 0.5);
  }
}

TEST(ByteStream, DoesNotBelieveALength) {
  ByteWriter writer;
  writer.put(std::int64_t{1} << 60);
  ByteReader reader(writer.bytes());
  EXPECT_THROW(reader.get_vector<double>(), Error);
}

}  // namespace
}  // namespace hack::io
