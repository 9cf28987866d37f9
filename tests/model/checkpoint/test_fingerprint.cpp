// Fingerprints: they belong to every number and to everything that losses depend on, and do not depend on who reads.

#include "model/checkpoint/fingerprint.hpp"

#include <gtest/gtest.h>

#include "comm/communicator.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

using hack::testing::read_file;
using hack::testing::TemporaryDirectory;
using hack::testing::TinyModel;
using hack::testing::write_file;
using hack::testing::write_gguf;
using hack::testing::write_hf;

std::string fingerprint(const TinyModel& model) {
  const TemporaryDirectory directory;
  write_gguf(model, directory / "a.gguf", GgmlType::f32);
  return Checkpoint::open(directory / "a.gguf")->fingerprint();
}

TEST(Fingerprint, TellsEverythingApartThatLossesDependOn) {
  const TinyModel tiny;
  const std::string first = fingerprint(tiny);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(first, fingerprint(tiny));
  TinyModel linear = tiny;
  linear.rope.type = RopeType::linear;
  linear.rope.factor = 4;
  TinyModel further = linear;
  further.rope.factor = 4.01;
  TinyModel context = tiny;
  context.context = 512;
  EXPECT_NE(fingerprint(linear), first);
  EXPECT_NE(fingerprint(further), first);
  EXPECT_NE(fingerprint(further), fingerprint(linear));
  EXPECT_NE(fingerprint(context), first);
}

TEST(Fingerprint, NoticesEveryNumber) {
  const TinyModel tiny;
  const TemporaryDirectory directory;
  const auto file = directory / "a.gguf";
  write_gguf(tiny, file, GgmlType::f32);
  const std::string whole = read_file(file);
  const std::string first = Checkpoint::open(file)->fingerprint();
  // The last bit of single numbers, all over the tensors; their data takes all but the first tenth of the file.
  for (std::size_t at = whole.size() / 10; at < whole.size(); at += 4 * 4999) {
    std::string changed = whole;
    changed[at / 4 * 4] = static_cast<char>(changed[at / 4 * 4] ^ 1);
    write_file(file, changed);
    EXPECT_NE(Checkpoint::open(file)->fingerprint(), first) << at;
  }
}

TEST(Fingerprint, DoesNotDependOnFormatRanksOrThreads) {
  const comm::Communicator world = comm::Communicator::world();
  TinyModel tiny;
  tiny.vocab = 3000;  // more than one piece
  tiny.rope = {.type = RopeType::llama3, .factor = 8, .original_context = 64};
  const TemporaryDirectory directory;  // each rank's own
  write_hf(tiny, directory / "hf");
  write_gguf(tiny, directory / "a.gguf", GgmlType::f32);
  const auto hf = Checkpoint::open(directory / "hf");
  const auto shared = Checkpoint::open(directory / "a.gguf");
  shared->share_fingerprint(world, 2);
  EXPECT_EQ(shared->fingerprint(), hf->fingerprint());
  // One rank knows it, the others do not.
  const auto partly = Checkpoint::open(directory / "hf");
  if (world.is_root()) partly->fingerprint();
  partly->share_fingerprint(world, 1);
  EXPECT_EQ(partly->fingerprint(), hf->fingerprint());
}

}  // namespace
}  // namespace hack::model
