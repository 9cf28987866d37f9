// Steps on disk: what a run that was ended leaves to the next one.

#include "comm/journal.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::comm {
namespace {

namespace fs = std::filesystem;

/// A folder that all ranks see; every rank's records and states tell rank and step.
class Journals : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = world_.is_root() ? (folder_.path() / "a.parts").string() : std::string();
    broadcast(world_, path);
    shared_ = path;
  }
  void TearDown() override { world_.barrier(); }

  std::string text(const char* what, index_t step) const {
    return fmt::format("{} of step {} on rank {}", what, step, world_.rank());
  }
  void append(Journal& journal) const {
    const index_t step = journal.steps();
    const std::string first = text("a state", step), second = text(" and more", step);
    journal.append(text("record", step), {std::as_bytes(std::span(first)), std::as_bytes(std::span(second))});
  }
  /// Steps that a run ended after `steps` of them, this rank after one more if `ahead`.
  void leave(index_t steps, bool ahead = false) const {
    Journal journal(world_, shared_, "key", false);
    for (index_t s = 0; s < steps + (ahead ? 1 : 0); ++s) append(journal);
    world_.barrier();
  }
  void expect(const Journal& journal, index_t steps) const {
    ASSERT_EQ(journal.steps(), steps);
    for (index_t s = 0; s < steps; ++s) EXPECT_EQ(journal.record(s), text("record", s));
    if (steps > 0) {
      EXPECT_EQ(journal.state(), text("a state", steps - 1) + text(" and more", steps - 1));
    }
  }
  fs::path own(const std::string& kind) const { return shared_ / fmt::format("rank-{}.{}", world_.rank(), kind); }

  Communicator world_ = Communicator::world();
  testing::TemporaryDirectory folder_;
  fs::path shared_;
};

TEST_F(Journals, GoesOnAfterWhatIsThere) {
  leave(3);
  {
    Journal journal(world_, shared_, "key", true);
    expect(journal, 3);
    append(journal);
    world_.barrier();
  }
  Journal journal(world_, shared_, "key", true);
  expect(journal, 4);
  EXPECT_FALSE(fs::exists(own("state-1")));
  journal.remove();
  world_.barrier();
  EXPECT_FALSE(fs::exists(shared_));
}

TEST_F(Journals, BeginsAnewUnlessToldToResume) {
  leave(2);
  Journal journal(world_, shared_, "key", false);
  expect(journal, 0);
  EXPECT_FALSE(fs::exists(shared_));
}

TEST_F(Journals, HasNothingWhereNothingWasFinished) {
  const Journal journal(world_, shared_, "key", true);
  expect(journal, 0);
  EXPECT_FALSE(fs::exists(shared_));
}

TEST_F(Journals, TakesWhatAllRanksHaveFinished) {
  leave(2, world_.rank() % 2 == 1);
  Journal journal(world_, shared_, "key", true);
  expect(journal, 2);
  append(journal);
  expect(journal, 3);
}

TEST_F(Journals, DoesNotTakeHalfARecord) {
  leave(3);
  fs::resize_file(own("journal"), fs::file_size(own("journal")) - 1);
  world_.barrier();
  Journal journal(world_, shared_, "key", true);
  expect(journal, 2);
}

TEST_F(Journals, DoesNotTakeAChangedRecordOrState) {
  for (const char* kind : {"journal", "state-1"}) {
    leave(2);
    std::fstream file(own(kind), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-40, std::ios::end);
    file.put('#');
    file.close();
    world_.barrier();
    const Journal journal(world_, shared_, "key", true);
    expect(journal, kind == std::string("journal") ? 1 : 0);
    world_.barrier();  // all have read before the next round removes it
  }
}

TEST_F(Journals, NeverUsesAFlippedByte) {
  const auto flip = [](const fs::path& path, std::size_t at) {
    std::string bytes = testing::read_file(path);
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    testing::write_file(path, bytes);
  };
  leave(2);
  for (const char* kind : {"journal", "state-1"}) {
    const std::string whole = testing::read_file(own(kind));
    for (std::size_t at = 0; at < whole.size(); at += 1 + at / 8) {
      SCOPED_TRACE(fmt::format("byte {} of {}", at, kind));
      flip(own(kind), at);
      world_.barrier();
      try {
        const Journal journal(world_, shared_, "key", true);
        expect(journal, journal.steps());
        EXPECT_LT(journal.steps(), 2);
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(shared_.string()), std::string::npos) << error.what();
      }
      world_.barrier();
      leave(2);
    }
  }
}

TEST_F(Journals, RefusesAnotherRunsSteps) {
  leave(1);
  try {
    const Journal journal(world_, shared_, "other", true);
    ADD_FAILURE() << "another run's steps were taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("another model"), std::string::npos) << error.what();
  }
  if (world_.size() == 1) return;
  const Communicator self = Communicator::self();
  if (world_.is_root()) {
    EXPECT_THROW(Journal(self, shared_, "key", true), Error);
  }
  EXPECT_TRUE(fs::exists(shared_));
}

TEST_F(Journals, AnExceptionTakesTheFolderAlong) {
  try {
    Journal journal(world_, shared_, "key", false);
    append(journal);
    world_.barrier();
    throw Error("the run cannot go on");
  } catch (const Error&) {
  }
  EXPECT_FALSE(fs::exists(shared_));
}

}  // namespace
}  // namespace hack::comm
