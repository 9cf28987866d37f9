// What a study decodes on a GPU: steps that are replayed, of whole models and of lone slices.

#include <cmath>

#include <gtest/gtest.h>

#include "jobs/study/decode_run.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/gpu/tiny_files.hpp"

namespace hack::jobs {
namespace {

constexpr Device G = Device::cuda;

void expect_replayed(const tests::TinyFiles& files, const comm::Communicator& tensor, model::Slice slice) {
  Queue<G> queue(1);
  model::Llama<G> llama(files.source(DType::f32), tensor, queue, slice);
  const auto first = static_cast<int>(tensor.size() == 1 ? llama.plan().vocabulary.begin : 0);
  DecodeRun<G> run(llama, std::vector<int>(5, first));
  EXPECT_FALSE(run.is_replayed());
  for (int r = 0; r < 3; ++r) {
    run.run();
    run.run_in_steps();
  }
  EXPECT_EQ(run.is_replayed(), llama.can_replay());
}

TEST(GpuDecodeRun, ReplaysSteps) {
  const tests::TinyFiles files({.layers = 1});
  expect_replayed(files, files.world(), {files.world().rank(), files.world().size()});
}

TEST(GpuDecodeRun, ReplaysStepsOfALoneSlice) {
  const tests::TinyFiles files({.layers = 1});
  const comm::Communicator self = comm::Communicator::self();
  for (const int part : {0, 1}) expect_replayed(files, self, {part, 2});
}

TEST(GpuDecodeRun, LogitsOfALoneSliceAreZerosElsewhere) {
  const tests::TinyFiles files({.layers = 1});
  const comm::Communicator self = comm::Communicator::self();
  Queue<G> queue(1);
  model::Llama<G> llama(files.source(DType::f32), self, queue, {1, 2});
  const svd::Range own = llama.plan().vocabulary;
  model::KvCache<G> cache = llama.make_cache(1);
  const std::vector<int> id = {static_cast<int>(own.begin)};
  tests::DeviceMatrix<> logits(1, llama.config().vocab_size);
  llama.logits(llama.forward(id, cache), logits.view());
  queue.wait();
  const std::vector<float> found = logits.host();
  for (index_t i = 0; i < std::ssize(found); ++i) {
    const bool is_own = own.begin <= i && i < own.end;
    EXPECT_TRUE(is_own ? std::isfinite(found[i]) : found[i] == 0) << i;
  }
}

}  // namespace
}  // namespace hack::jobs
