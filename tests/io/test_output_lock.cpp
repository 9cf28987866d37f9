// Who may write an output, and what becomes of the lock.

#include "io/output_lock.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/temporary_directory.hpp"

namespace hack::io {
namespace {

namespace fs = std::filesystem;

using hack::testing::TemporaryDirectory;
using hack::testing::write_file;

TEST(OutputLock, IsGivenToOneAtATime) {
  const TemporaryDirectory folder;
  const fs::path output = folder / "a.h5";
  fs::create_symlink("a.h5", folder / "link");
  {
    const auto lock = OutputLock::take(output);
    ASSERT_NE(lock, nullptr);
    EXPECT_TRUE(lock->is_held());
    EXPECT_EQ(OutputLock::take(output), nullptr);
    EXPECT_EQ(OutputLock::take(folder / "link"), nullptr) << "it is the same output";
    EXPECT_TRUE(OutputLock::holder_of(output).starts_with("process ")) << OutputLock::holder_of(output);
    EXPECT_NE(OutputLock::take(folder / "b.h5"), nullptr);
  }
  EXPECT_FALSE(fs::exists(OutputLock::path_of(output)));
  EXPECT_NE(OutputLock::take(output), nullptr);
}

TEST(OutputLock, AFileWithoutALockStopsNobody) {
  const TemporaryDirectory folder;
  write_file(OutputLock::path_of(folder / "a.h5"), "process 1 on a machine that was switched off\n");
  EXPECT_NE(OutputLock::take(folder / "a.h5"), nullptr);
  EXPECT_FALSE(fs::exists(OutputLock::path_of(folder / "a.h5")));
}

TEST(OutputLock, StaysWhileAnExceptionPasses) {
  const TemporaryDirectory folder;
  try {
    const auto lock = OutputLock::take(folder / "a.h5");
    throw std::runtime_error("an error on its way to main");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(OutputLock::take(folder / "a.h5"), nullptr) << "other ranks may still be writing";
}

TEST(OutputLock, LetsThroughWhereUsersSwitchLocksOff) {
  const TemporaryDirectory folder;
  const auto first = OutputLock::take(folder / "a.h5");
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
  const auto second = OutputLock::take(folder / "a.h5");
  unsetenv("HDF5_USE_FILE_LOCKING");
  ASSERT_NE(second, nullptr);
  EXPECT_FALSE(second->is_held());
}

}  // namespace
}  // namespace hack::io
