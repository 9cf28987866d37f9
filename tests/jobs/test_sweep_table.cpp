// The rows of a sweep that the next run finds, and what it says of a table that is not its own.
#include "jobs/compression/sweep_table.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/record_file.hpp"
#include "kernels/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::jobs {
namespace {

using testing::read_file;
using testing::write_file;

class SweepTables : public ::testing::Test {
 protected:
  SweepTable open(const std::string& rule = "keep") const { return {world_, path(), rule, {"a/text.txt"}}; }
  std::filesystem::path path() const { return folder_ / "sweep.csv"; }
  std::filesystem::path records() const { return folder_ / "sweep.csv.records"; }

  static SweepRow row(int number) {
    const double infinity = std::numeric_limits<double>::infinity();  // the perplexity of a model that is spoiled
    return {"loss",
            0.1 * number,
            std::to_string(number),
            1e9 / 3,
            2e9,
            1.5,
            {{"text.txt", 0, number == 0 ? infinity : 7.25, 0.5, 0.75}}};
  }
  static void expect_row(const SweepTable& table, int number) {
    const SweepRow* found = table.find(std::to_string(number));
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->method, "loss");
    EXPECT_EQ(found->value, row(number).value);
    EXPECT_EQ(found->bytes_stored, row(number).bytes_stored);
    EXPECT_EQ(found->scores.at(0).after, row(number).scores[0].after);
    EXPECT_EQ(found->scores.at(0).divergence, 0.5);
    EXPECT_EQ(found->scores.at(0).same_top, 0.75);
  }

  testing::TemporaryDirectory folder_;
  comm::Communicator world_ = comm::Communicator::world();
};

TEST_F(SweepTables, GoOnWhereTheyWereStopped) {
  {
    SweepTable table = open();
    EXPECT_EQ(table.find("0"), nullptr);
    for (const int number : {0, 1}) table.append(row(number));
  }
  const std::string two = read_file(path());
  EXPECT_TRUE(two.starts_with("method,keep,id,bytes_stored,bytes_dense,ratio,seconds,perplexity text.txt,divergence"));
  EXPECT_EQ(std::count(two.begin(), two.end(), '\n'), 3);
  write_file(records(), read_file(records()) + "half a record");
  std::filesystem::remove(path());  // made anew from the records
  SweepTable table = open();
  for (const int number : {0, 1}) expect_row(table, number);
  table.append(row(2));
  EXPECT_TRUE(read_file(path()).starts_with(two));
  expect_row(open(), 2);
}

TEST_F(SweepTables, NeverUseAFlippedByte) {
  {
    SweepTable table = open();
    for (const int number : {0, 1}) table.append(row(number));
  }
  const std::string whole = read_file(records());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    SCOPED_TRACE(at);
    std::string text = whole;
    text[at] = static_cast<char>(text[at] ^ 0x04);
    write_file(records(), text);
    try {
      const SweepTable table = open();
      EXPECT_TRUE(table.find("0") == nullptr || table.find("1") == nullptr);
      for (const int number : {0, 1}) {
        if (table.find(std::to_string(number)) != nullptr) expect_row(table, number);
      }
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(records().string()), std::string::npos) << error.what();
    }
  }
}

TEST_F(SweepTables, RefuseRecordsOfHostileNumbers) {
  {
    SweepTable table = open();
    table.append(row(0));
  }
  const std::string head = read_file(records()).substr(0, read_file(records()).find('\n'));
  const nlohmann::json key = nlohmann::json::parse(head.substr(head.find('{')));
  const std::string whole = *io::RecordFile(records(), "sweep", key).read(0);
  const double nan = std::numeric_limits<double>::quiet_NaN(), below = -1;
  const auto with = [&](std::size_t from_end, double value) {
    std::string content = whole;
    std::memcpy(content.data() + content.size() - from_end, &value, sizeof(value));
    return content;
  };
  for (const std::string& content : {whole + "x", whole.substr(0, 20), std::string(), with(8, nan), with(8, 2.0),
                                     with(16, nan), with(24, below), with(32, nan), with(56, below)}) {
    std::filesystem::remove(records());
    io::RecordFile(records(), "sweep", key).append("0", content);
    try {
      open();
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(records().string()), std::string::npos) << error.what();
    }
  }
}

TEST_F(SweepTables, OfOthersAreNotWrittenOver) {
  { open().append(row(0)); }
  EXPECT_THROW(open("topk"), Error);
  std::filesystem::remove(records());
  EXPECT_THROW(open(), Error);
  write_file(records(), "some other file");
  EXPECT_THROW(open(), Error);
}

}  // namespace
}  // namespace hack::jobs
