// What a file of records gives back after it was cut or changed anywhere: what was put in, less, or nothing.
#include "io/record_file.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::io {
namespace {

namespace fs = std::filesystem;

using Owner = RecordFile::Owner;
using testing::read_file;
using testing::write_file;

class Records : public ::testing::Test {
 protected:
  RecordFile open(const nlohmann::json& key = {{"model", "m"}, {"dtype", "f32"}}) const {
    return {path(), "parts", key};
  }
  fs::path path() const { return folder_ / "file"; }

  /// Three records, the second one without content, the third one of the first one's name.
  std::string write() const {
    fs::remove(path());
    RecordFile file = open();
    file.append("a", "first content");
    file.append("b", std::string_view());
    const std::string parts[] = {"third ", "content"};
    file.append("a", {std::as_bytes(std::span(parts[0])), std::as_bytes(std::span(parts[1]))},
                RecordFile::Durable::within_a_second);
    return read_file(path());
  }

  /// All that is read is what was written.
  static void expect_original(const RecordFile& file) {
    const std::vector<std::pair<std::string, std::string>> original = {
        {"a", "first content"}, {"b", ""}, {"a", "third content"}};
    ASSERT_LE(file.size(), 3);
    for (index_t i = 0; i < file.size(); ++i) {
      EXPECT_EQ(file.name(i), original[static_cast<std::size_t>(i)].first);
      if (const auto content = file.read(i)) {
        EXPECT_EQ(*content, original[static_cast<std::size_t>(i)].second);
      }
    }
  }
  static index_t sound_records(const RecordFile& file) {
    index_t sound = 0;
    for (index_t i = 0; i < file.size(); ++i) sound += file.read(i) ? 1 : 0;
    return sound;
  }

  testing::TemporaryDirectory folder_;
};

TEST_F(Records, ComeBackInOrderAndByName) {
  EXPECT_EQ(open().owner(), Owner::nobody);
  write();
  const RecordFile file = open();
  EXPECT_EQ(file.owner(), Owner::this_work);
  ASSERT_EQ(file.size(), 3);
  expect_original(file);
  EXPECT_EQ(sound_records(file), 3);
  EXPECT_EQ(file.find("a"), 2);
  EXPECT_EQ(file.find("b"), 1);
  EXPECT_EQ(file.find("c"), std::nullopt);
  EXPECT_EQ(file.length(2), 13u);
}

TEST_F(Records, NothingChangedIsEverReturned) {
  const std::string whole = write();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
      SCOPED_TRACE(fmt::format("byte {} xor {}", at, flip));
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      write_file(path(), changed);
      const RecordFile file = open();
      expect_original(file);
      if (file.owner() == Owner::this_work) {
        EXPECT_LT(sound_records(file), 3);
      } else {
        EXPECT_EQ(file.size(), 0);
      }
    }
  }
}

TEST_F(Records, AFileCutAnywhereGoesOnFromItsLastWholeRecord) {
  const std::string whole = write();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    write_file(path(), whole.substr(0, size));
    RecordFile file = open();
    ASSERT_TRUE(file.owner() == Owner::nobody || file.owner() == Owner::this_work);
    expect_original(file);
    const index_t before = file.size();
    EXPECT_LT(before, 3);
    EXPECT_EQ(sound_records(file), before);
    file.append("new", "after the end");
    const RecordFile again = open();
    ASSERT_EQ(again.size(), before + 1);
    EXPECT_EQ(again.read(before), "after the end");
    EXPECT_EQ(sound_records(again), before + 1);
  }
}

TEST_F(Records, OfAnotherFileOrPlaceDoNotCount) {
  const std::string whole = write();
  const std::string line = whole.substr(0, whole.find('\n') + 1);
  const std::string first = whole.substr(line.size(), 24 + 1 + 13 + 8);
  write_file(path(), line + first + first);  // moved
  EXPECT_EQ(open().size(), 1);
  fs::remove(path());
  RecordFile other = open({{"model", "other"}});
  other.append("a", "first content");
  const std::string theirs = read_file(path());
  write_file(path(), line + theirs.substr(theirs.find('\n') + 1));
  EXPECT_EQ(open().size(), 0);
}

TEST_F(Records, BelongToTheirKey) {
  write();
  const RecordFile other = open({{"model", "m"}, {"dtype", "bf16"}, {"context", 5}});
  EXPECT_EQ(other.owner(), Owner::other_work);
  EXPECT_EQ(other.size(), 0);
  EXPECT_EQ(other.difference(), "context is null, here 5; dtype is \"f32\", here \"bf16\"");
  EXPECT_EQ(other.found_key()["model"], "m");
  EXPECT_EQ(RecordFile(path(), "others", {{"model", "m"}, {"dtype", "f32"}}).owner(), Owner::other_program);
  for (const char* text : {"some other file\n", "some other file without an end"}) {
    write_file(path(), text);
    EXPECT_EQ(open().owner(), Owner::other_program) << text;
    EXPECT_THROW(open().append("a", "b"), Error);
    EXPECT_EQ(read_file(path()), text);
  }
}

TEST_F(Records, AKeyThatNestsWithoutEndIsNone) {
  const std::string deep = R"({"model":)" + std::string(100000, '[') + std::string(100000, ']') + "}";
  write_file(path(), "hack-records 1 parts " + deep + "\n");
  EXPECT_EQ(open().owner(), Owner::other_program);
}

TEST_F(Records, CanBeCutAndBegunAnew) {
  write();
  RecordFile file = open();
  file.truncate(1);
  EXPECT_EQ(open().size(), 1);
  file.append("c", "another second");
  EXPECT_EQ(open().read(1), "another second");
  file.clear();
  EXPECT_EQ(file.size(), 0);
  file.append("d", "the first");
  ASSERT_EQ(open().size(), 1);
  EXPECT_EQ(open().read(0), "the first");
}

TEST_F(Records, AnUnwritablePlaceIsAnErrorThatNamesIt) {
  RecordFile file(folder_ / "missing" / "file", "parts", {{"model", "m"}});
  try {
    file.append("a", "b");
    FAIL() << "wrote into a folder that is not there";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("missing/file"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hack::io
