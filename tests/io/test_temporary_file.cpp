// Which outputs are streams, and what becomes of links.

#include "io/temporary_file.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temporary_directory.hpp"

namespace hack::io {
namespace {

namespace fs = std::filesystem;

using hack::testing::read_file;
using hack::testing::TemporaryDirectory;
using hack::testing::write_file;

TEST(TemporaryFile, DevicesAreStreamsAndSharedMemoryIsNot) {
  for (const char* path : {"/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/../dev/null"}) {
    EXPECT_TRUE(is_stream(path)) << path;
  }
  const TemporaryDirectory folder;
  for (const auto& path : {fs::path("/dev/shm/a.h5"), fs::path("dev/a"), fs::path(folder / "dev")}) {
    EXPECT_FALSE(is_stream(path)) << path;
  }
}

TEST(TemporaryFile, ALinkStaysOne) {
  const TemporaryDirectory folder;
  write_file(folder / "target", "before");
  fs::create_symlink("target", folder / "link");
  {
    TemporaryFile file(folder / "link");
    EXPECT_EQ(file.path().string(), (folder / "target").string() + std::string(temporary_ending));
    write_file(file.path(), "after");
    file.rename_to_final();
  }
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "target"), "after");
}

}  // namespace
}  // namespace hack::io
