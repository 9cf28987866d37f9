// Plans of jobs: what fits, what does not, and whether a rank needs the memory that the plan says.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

class Plan : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  ProgramResult run(const std::string& arguments, int ranks = 0) const {
    const std::string launcher = ranks > 0 ? fmt::format("\"$MPIRUN\" -n {} ", ranks) : "";
    return run_shell(fmt::format("cd '{}' && {}\"$HACK\" {}", folder_.path().string(), launcher, arguments));
  }
  json results(const std::string& arguments, int ranks = 0) const {
    const ProgramResult done = run(arguments + " --report report.json", ranks);
    EXPECT_EQ(done.status, 0) << done.err;
    return json::parse(read_file(file("report.json")))["results"];
  }

  TemporaryDirectory folder_;
};

TEST_F(Plan, ChoosesTheGridAndSaysThatItIsAModel) {
  const json plan = results("plan --shape llama-3.1-70b --gpus 8 --machine h100");
  EXPECT_EQ(plan["kind"], "model");
  ASSERT_EQ(plan["grids"].size(), 4u);  // 1, 2, 4, 8 ranks a copy
  EXPECT_FALSE(plan["grids"][0]["fits"].get<bool>());
  EXPECT_TRUE(plan["grids"][1]["fits"].get<bool>());
  EXPECT_EQ(plan["best_for_perplexity"], 2);  // the fewest that hold it
  EXPECT_EQ(plan["best_for_one_sequence"], 8);
  for (const json& grid : plan["grids"]) EXPECT_EQ(grid["kind"], "model");
  const json smaller = results("plan --shape llama-3.1-70b --gpus 8 --machine h100 --keep 0.5");
  EXPECT_LT(smaller["grids"][0]["weight_bytes"], plan["grids"][0]["weight_bytes"]);
}

TEST_F(Plan, RefusesWhatDoesNotFitAndNamesWhatWould) {
  const ProgramResult refused = run("plan --shape llama-3.1-405b --gpus 8 --machine h100");
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("use 16 ranks"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("--codec q8_0"), std::string::npos) << refused.err;
  EXPECT_NE(refused.out.find("8 × 1"), std::string::npos) << refused.out;  // the figures all the same
  EXPECT_EQ(run("plan --shape llama-3.1-405b --gpus 16 --machine h100").status, 0);
  EXPECT_EQ(run("plan --shape llama-3.1-405b --gpus 8 --machine h100 --codec q8_0").status, 0);
  const ProgramResult unknown = run("plan --shape llama-3.1-8b --gpus 1 --machine z80");
  EXPECT_EQ(unknown.status, 1);
  EXPECT_NE(unknown.err.find("h100"), std::string::npos) << unknown.err;
}

TEST_F(Plan, SaysTheMemoryThatARankTakes) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  const std::string model = "--shape llama-3.2-1b --layers 1 --context 32 --threads 1 ";
  for (const int tensor : {1, 2}) {
    const std::string study = fmt::format("study{}", tensor);
    const json rows = results(fmt::format("study strong {} --phases perplexity --windows 1 --repeats 1 --ranks {} "
                                          "--tensor-parallel {} --output {}",
                                          model, tensor, tensor, study),
                              2)["rows"];
    const json plan = results(fmt::format("plan {} --ranks {} --machine {}.json", model, tensor, study));
    const auto planned = plan["grids"][tensor - 1]["memory_bytes"].get<double>();
    EXPECT_NEAR(planned / rows[0]["peak_memory_bytes"].get<double>(), 1, 0.05) << tensor;
  }
}

TEST_F(Plan, CountsTheWeightsOfAFileAsTheyAreStored) {
  const TinyModel tiny{.hidden = 128, .intermediate = 320, .heads = 4, .kv_heads = 2, .head_dim = 32};
  write_gguf(tiny, file("q4_0.gguf"), model::GgmlType::q4_0);
  write_file(file("text"), std::string(500, 'a'));
  for (const int ranks : {1, 2}) {
    for (const char* type : {"", "--dtype bf16"}) {
      const json run =
          results(fmt::format("perplexity q4_0.gguf --text text --context 64 --windows 1 {}", type), ranks);
      const json plan = results(fmt::format("plan q4_0.gguf --ranks {} --context 64 {}", ranks, type));
      const auto held = run["weight_bytes_on_rank_0"].get<double>();
      EXPECT_NEAR(plan["grids"][ranks - 1]["weight_bytes"].get<double>() / held, 1, 0.02) << ranks << type;
    }
  }
}

}  // namespace
}  // namespace hack::testing
