// A scaling study over hosts with a slow network (slow_link.sh): what it measures and predicts of each number of ranks,
// and that nothing is left of the hosts. Times are recorded, not judged.

#include <map>
#include <set>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"
#include "tests/support/paths.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

constexpr int cannot = 77;

ProgramResult on_hosts(int hosts, const std::string& command) {
  return run_shell(fmt::format("bash '{}/tests/slurm/slow_link.sh' {} 100mbit {}", HACK_SOURCE_DIR, hosts, command));
}

TEST(SlowLink, StudyPredictsWhatItMeasures) {
  const TemporaryDirectory folder;
  TinyModel model;
  model.layers = 4;
  write_hf(model, folder / "model");
  const std::string prefix = (folder / "study").string();
  const ProgramResult run = on_hosts(
      4, fmt::format("\"$HACK\" study strong '{}' --ranks 1,2,3,4 --phases allreduce,prefill,decode "
                     "--slice all/2,all/4,0/8 --repeats 2 --prompt 64 --tokens 4 --threads 1 --output '{}' --quiet",
                     (folder / "model").string(), prefix));
  if (run.status == cannot) GTEST_SKIP() << run.out;
  ASSERT_EQ(run.status, 0) << run.err;
  const json study = json::parse(read_file(prefix + ".json"));
  std::set<std::string> seen;
  std::map<int, double> seconds;  // of the longest all-reduce
  for (const json& row : study["rows"]) {
    const std::string slice = row.value("slice", "");
    if (slice.empty()) {
      EXPECT_EQ(row["nodes"], row["ranks"]) << row;
    }
    seen.insert(fmt::format("{} {}", row["phase"].get<std::string>(), slice.empty() ? row["ranks"].dump() : slice));
    if (row["phase"] == "allreduce") seconds[row["ranks"]] = row["seconds"];
  }
  for (const char* phase : {"prefill", "decode"}) {
    for (const int ranks : {1, 2, 3, 4}) EXPECT_TRUE(seen.count(fmt::format("{} {}", phase, ranks))) << phase << ranks;
    for (const char* slice : {"all/2", "all/4", "0/8"})
      EXPECT_TRUE(seen.count(fmt::format("{} slice {}", phase, slice))) << phase << slice;
  }
  // 143,360 bytes through a link of 12.5 MB/s: no faster than the link, whatever else runs here.
  for (const int ranks : {2, 3, 4}) EXPECT_GT(seconds.at(ranks), 512.0 * 4 * 70 / 12.5e6 - 4e-4) << ranks;
  for (const char* part : {"held_out", "slices"}) {
    ASSERT_FALSE(study[part].empty());
    for (const json& row : study[part]) {
      EXPECT_EQ(row["kind"], "model");
      EXPECT_GT(row["communication_seconds"], 0);
      EXPECT_EQ(row.contains("error"), row["ranks"] != 8) << row;
      const std::string name = fmt::format("{}-{}-{}-{}", part, row["phase"].get<std::string>(), row["ranks"].dump(),
                                           row.contains("slices") ? "slices" : "fit");
      if (row.contains("error")) RecordProperty(name, row["error"].dump());
    }
  }
}

TEST(SlowLink, EndsAsItsProgramAndLeavesNothing) {
  const std::string before = run_shell("ip -o link; ip netns").out;
  const ProgramResult run = on_hosts(2, "sh -c 'hostname; exit 7'");
  if (run.status == cannot) GTEST_SKIP() << run.out;
  EXPECT_EQ(run.status, 7);
  EXPECT_NE(run.out.find("h1"), std::string::npos);
  EXPECT_NE(run.out.find("h2"), std::string::npos);
  const ProgramResult killed = run_shell(
      fmt::format("bash '{}/tests/slurm/slow_link.sh' 2 100mbit sleep 1234567 & sleep 1; kill -KILL $!; sleep 1; "
                  "pgrep -f '^sleep 1234567'",
                  HACK_SOURCE_DIR));
  EXPECT_EQ(killed.out, "") << "still running";
  EXPECT_EQ(run_shell("ip -o link; ip netns").out, before);
}

}  // namespace
}  // namespace hack::testing
