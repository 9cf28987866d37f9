#include "model/evaluate/loss_records.hpp"

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

using testing::read_file;
using testing::TemporaryDirectory;
using testing::write_file;

/// Four windows of five tokens, four of which are scored.
WindowPlan four_windows() { return plan_windows(find_protocol("2048"), 21, 5, {}, {}); }

std::vector<float> losses_of(index_t window) {
  std::vector<float> losses;
  for (int t = 0; t < 4; ++t) losses.push_back(1.0f / static_cast<float>(3 + 4 * window + t));
  return losses;
}

nlohmann::json some_run() { return {{"model", "m"}, {"dtype", "f32"}, {"context", 5}}; }

class Records : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return folder_ / "losses"; }
  LossRecords open(const nlohmann::json& run = some_run()) const { return {path(), run}; }

  WindowLosses read(const WindowPlan& plan = four_windows()) const {
    WindowLosses losses;
    open().read(plan, losses);
    return losses;
  }

  TemporaryDirectory folder_;
};

TEST_F(Records, ComeBackInEveryBitInAnyOrder) {
  EXPECT_EQ(read(), WindowLosses(4));
  for (const index_t window : {2, 0, 3}) open().append(four_windows(), window, losses_of(window));
  EXPECT_EQ(read(), (WindowLosses{losses_of(0), {}, losses_of(2), losses_of(3)}));
}

TEST_F(Records, OfSlicesAreThoseOfTheText) {
  open().append(slice_of(four_windows(), 2, 4), 0, losses_of(2));
  EXPECT_EQ(read(), (WindowLosses{{}, {}, losses_of(2), {}}));
  EXPECT_EQ(read(slice_of(four_windows(), 1, 2)), (WindowLosses{losses_of(2), {}}));
}

TEST_F(Records, CutAnywhereLoseTheLastWindowAtMost) {
  for (const index_t window : {0, 1}) open().append(four_windows(), window, losses_of(window));
  const std::size_t last_record = read_file(path()).size();
  open().append(four_windows(), 2, losses_of(2));
  const std::string whole = read_file(path());
  for (std::size_t size = 0; size < whole.size(); size += size < last_record ? 17 : 1) {
    SCOPED_TRACE(size);
    write_file(path(), whole.substr(0, size));
    const WindowLosses before = read();
    if (size >= last_record) {
      EXPECT_EQ(before[0], losses_of(0));
      EXPECT_EQ(before[1], losses_of(1));
    }
    for (const index_t window : {0, 1, 2, 3}) {
      if (before[window].empty()) open().append(four_windows(), window, losses_of(window));
    }
    EXPECT_EQ(read(), (WindowLosses{losses_of(0), losses_of(1), losses_of(2), losses_of(3)}));
  }
}

TEST_F(Records, ThatWereChangedDoNotCount) {
  for (const index_t window : {0, 1}) open().append(four_windows(), window, losses_of(window));
  const std::string whole = read_file(path());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    SCOPED_TRACE(at);
    std::string text = whole;
    text[at] = static_cast<char>(text[at] ^ 0x04);
    write_file(path(), text);
    WindowLosses losses;
    try {
      losses = read();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path().string()), std::string::npos) << error.what();
      continue;
    }
    EXPECT_TRUE(losses[0].empty() || losses[1].empty());
    for (const std::size_t window : {0u, 1u}) {
      EXPECT_TRUE(losses[window].empty() || losses[window] == losses_of(static_cast<index_t>(window)));
    }
  }
}

TEST_F(Records, OfLossesThatAreNoneAreAnError) {
  open().append(four_windows(), 0, {{1.0f, std::nanf(""), 1.0f, 1.0f}});
  try {
    read();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path().string() + ": a loss of window 0 is NaN"), std::string::npos);
  }
}

TEST_F(Records, OfAnotherRunAreAnErrorThatSaysWhatDiffers) {
  open().append(four_windows(), 0, losses_of(0));
  nlohmann::json other = some_run();
  other["dtype"] = "bf16";
  try {
    open(other);
    FAIL() << "took another run's losses";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("dtype is \"f32\", here \"bf16\""), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("model"), std::string::npos) << error.what();
  }
  for (const char* text : {"some other file\n", "some other file without an end"}) {
    write_file(path(), text);
    EXPECT_THROW(open(), Error) << text;
  }
}

}  // namespace
}  // namespace hack::model
