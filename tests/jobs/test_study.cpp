// `hack study` with slices: what one rank measures of a job that is larger than it.

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/checkpoint/random_checkpoint.hpp"
#include "model/memory_need.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

class Study : public ::testing::Test {
 protected:
  ProgramResult run(const std::string& arguments) const {
    return run_shell(
        fmt::format("cd '{}' && \"$HACK\" study {} --shape llama-3.2-1b --layers 1 --phases decode "
                    "--tokens 2 --repeats 1 --threads 1 --output study --quiet",
                    folder_.path().string(), arguments));
  }
  json table() const { return json::parse(read_file((folder_ / "study.json").string())); }

  TemporaryDirectory folder_;
};

TEST_F(Study, MeasuresSlicesAndAddsTheModelsAllReduces) {
  const ProgramResult done = run("strong --slice 0/8,7/8 --links h100");
  ASSERT_EQ(done.status, 0) << done.err;
  const json study = table();
  ASSERT_EQ(study["rows"].size(), 2u);  // without --ranks nothing else is timed
  model::LlamaConfig config = model::published_config("llama-3.2-1b");
  config.layers = 1;
  double slowest = 0;
  for (const int part : {0, 7}) {
    const json& row = study["rows"][part == 0 ? 0 : 1];
    EXPECT_EQ(row["kind"], "measured");
    EXPECT_EQ(row["phase"], "decode slice");
    EXPECT_EQ(row["slice"], fmt::format("{}/8", part));
    EXPECT_EQ(row["ranks"], 8);
    EXPECT_EQ(row["weight_bytes"].get<double>(), model::memory_need(config, {.context = 2}, 8, part).weights);
    EXPECT_FALSE(row.contains("joules"));  // of a CPU
    slowest = std::max(slowest, row["seconds"].get<double>());
  }
  ASSERT_EQ(study["slices"].size(), 1u);
  const json& predicted = study["slices"][0];
  EXPECT_EQ(predicted["kind"], "model");
  EXPECT_EQ(predicted["measured"], "compute_seconds");
  EXPECT_EQ(predicted["compute_seconds"], slowest);
  EXPECT_GT(predicted["communication_seconds"], 0);
  EXPECT_EQ(predicted["seconds"].get<double>(), slowest + predicted["communication_seconds"].get<double>());
  EXPECT_EQ(read_file((folder_ / "study.csv").string()).find("joules"), std::string::npos);
  // Slices that are there are not timed again.
  ASSERT_EQ(run("strong --slice 0/8,7/8,3/8 --links h100").status, 0);
  const json again = table();
  ASSERT_EQ(again["rows"].size(), 3u);
  for (const int row : {0, 1}) EXPECT_EQ(again["rows"][row]["seconds"], study["rows"][row]["seconds"]);
}

TEST_F(Study, SaysWhatSlicesNeed) {
  const auto expect_refused = [&](const std::string& arguments, const std::string& reason) {
    const ProgramResult refused = run(arguments);
    EXPECT_EQ(refused.status, 1) << arguments;
    EXPECT_NE(refused.err.find(reason), std::string::npos) << refused.err;
  };
  expect_refused("strong --slice 0/8", "--links");
  expect_refused("strong --slice 8/8 --links h100", "p below P");
  expect_refused("strong --slice all/2 --links h100", "needs 2 ranks");
  expect_refused("strong --slice 0/8 --links z80", "z80");
  expect_refused("weak --slice 0/8 --links h100", "strong scaling");
}

}  // namespace
}  // namespace hack::testing
