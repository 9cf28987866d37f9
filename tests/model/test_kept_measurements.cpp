// Statistics and sensitivities on disk: what was changed or cut is made anew or is an error that names the file.
#include <algorithm>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/byte_stream.hpp"
#include "io/record_file.hpp"
#include "kernels/error.hpp"
#include "model/calibration/sensitivity_file.hpp"
#include "model/calibration/statistics_file.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

using testing::read_file;
using testing::write_file;

class Kept : public ::testing::Test {
 protected:
  /// Calls `look` with the file changed at every byte, then cut at every length.
  template <class F>
  void damage(const fs::path& path, F look) const {
    const std::string whole = read_file(path);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      SCOPED_TRACE(fmt::format("byte {}", at));
      std::string text = whole;
      text[at] = static_cast<char>(text[at] ^ 0x04);
      write_file(path, text);
      look();
      write_file(path, whole.substr(0, at));
      look();
    }
    write_file(path, whole);
  }

  comm::Communicator world_ = comm::Communicator::world();
  testing::TemporaryDirectory folder_;
};

TEST_F(Kept, SensitivitiesAreThoseWrittenOrNone) {
  std::vector<MatrixSensitivity> matrices;
  for (const char* name : {"first", "second"}) {
    matrices.push_back({name, svd::TileGrid(3, 4, 2, 4), {4, 3, 2}, 0.25, 1.5});
  }
  const fs::path path = folder_ / "sensitivities";
  const std::vector<std::string> names = {"second", "first"};
  EXPECT_EQ(read_sensitivities(path, "key", names), std::nullopt);
  write_sensitivities(world_, path, "key", matrices);
  EXPECT_EQ(read_sensitivities(path, "other", names), std::nullopt);
  EXPECT_EQ(read_sensitivities(path, "key", {"third"}), std::nullopt);
  const auto found = read_sensitivities(path, "key", names);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ(found->at(0).name, "second");
  EXPECT_EQ(found->at(0).grid.rows(), 3);
  EXPECT_EQ(found->at(0).grid.tile_height(), 2);
  EXPECT_EQ(found->at(0).sigma, matrices[1].sigma);
  EXPECT_EQ(found->at(0).divergence, 0.25);
  EXPECT_EQ(found->at(0).discarded, 1.5);
  damage(path, [&] { EXPECT_EQ(read_sensitivities(path, "key", names), std::nullopt); });
}

// With digests that are right.
TEST_F(Kept, HostileNumbersAreNone) {
  const fs::path path = folder_ / "sensitivities";
  for (const index_t rows : {index_t{-3}, index_t{0}, index_t{1} << 28, index_t{1} << 62}) {
    io::ByteWriter record;
    for (const index_t size : {rows, index_t{1} << 28, index_t{1}, index_t{1}}) record.put(size);
    for (const double number : {0.25, 1.5}) record.put(number);
    record.put(std::vector<float>{1, 2});
    record.put(std::vector<double>());
    fs::remove(path);
    io::RecordFile(path, "sensitivities", "key").append("m", record.bytes());
    EXPECT_EQ(read_sensitivities(path, "key", {"m"}), std::nullopt) << rows;
  }
  auto statistics = svd::InputStatistics::from_packed(2, std::vector<float>{1, 2, -3});
  {
    StatisticsFile file(world_, folder_.path(), "key");
    file.write("a", statistics);
    file.finish();
  }
  EXPECT_THROW(StatisticsFile(world_, folder_.path(), "key").read("a", 2), Error);
}

TEST_F(Kept, StatisticsAreThoseWrittenOrAnErrorOrNone) {
  const std::vector<float> first = {1, 2, 3}, second = {4, 5, 6, 7, 8, 9};
  {
    StatisticsFile file(world_, folder_.path(), "key");
    ASSERT_FALSE(file.is_whole());
    auto two = svd::InputStatistics::from_packed(2, first), three = svd::InputStatistics::from_packed(3, second);
    file.write("a", two);
    file.write("b", three);
    file.finish();
  }
  fs::path path;
  for (const auto& entry : fs::directory_iterator(folder_.path())) path = entry.path();
  EXPECT_FALSE(StatisticsFile(world_, folder_.path(), "other").is_whole());
  EXPECT_TRUE(StatisticsFile(world_, folder_.path(), "key").is_whole());
  int errors = 0;
  damage(path, [&] {
    const StatisticsFile file(world_, folder_.path(), "key");
    if (!file.is_whole()) return;
    try {
      EXPECT_EQ(file.read("a", 2).packed(), first);
      EXPECT_EQ(file.read("b", 3).packed(), second);
      ADD_FAILURE() << "the damage was not found";
    } catch (const Error& error) {
      ++errors;
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
  });
  EXPECT_GT(errors, 0);
  EXPECT_EQ(StatisticsFile(world_, folder_.path(), "key").read("b", 3).packed(), second);
}

}  // namespace
}  // namespace hack::model
