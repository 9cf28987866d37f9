// Ranks chosen after the factorization: of archives that keep vectors, and in sweeps.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

class Selection : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    std::string text;
    for (int i = 0; i < 24; ++i) text += fmt::format("The {}th lamp burned {} hours, then another.\n", i, i * 37 % 24);
    write_file(file("text"), text);
    write_hf({}, file("hf"));
    run(2, Arguments{"compress", file("hf"), "--output", file("kept.h5"), "--max-rank", "32"} + how);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string file(const std::string& name) { return (*folder_ / name).string(); }

  /// The `results` of a run; the test fails if it does.
  static json run(int ranks, const Arguments& arguments) {
    const std::string path = file("report.json");
    const ProgramResult result = run_hack(ranks, arguments + Arguments{"--report", path});
    EXPECT_EQ(result.status, 0) << arguments.front() << "\n" << result.err;
    return result.status == 0 ? json::parse(read_file(path))["results"] : json();
  }

  static json perplexity(int ranks, const Arguments& more) {
    return run(ranks, Arguments{"perplexity", file("hf"), "--text", file("text"), "--context", "96"} + more);
  }

  static const Arguments how;
  static TemporaryDirectory* folder_;
};

const Arguments Selection::how = {"--method", "plain", "--tile", "32"};
TemporaryDirectory* Selection::folder_ = nullptr;

TEST_F(Selection, IsWhatASeparateCompressionMakes) {
  for (const Arguments& rule : {Arguments{"--topk", "0.3"}, {"--keep", "0.3", "--factor-type", "int8"}}) {
    run(3, Arguments{"compress", file("hf"), "--output", file("made.h5")} + how + rule);
    const json selected = run(2, Arguments{"compress", file("kept.h5"), "--output", file("selected.h5")} + rule);
    EXPECT_TRUE(read_file(file("selected.h5")) == read_file(file("made.h5"))) << rule[0];
    EXPECT_EQ(selected["factor_type"], rule.size() > 2 ? "int8" : "bf16");

    const json made = perplexity(2, {"--archive", file("made.h5")});
    EXPECT_EQ(perplexity(2, Arguments{"--archive", file("kept.h5")} + rule)["perplexity"], made["perplexity"]);
  }
  const Arguments prompt = {"generate", file("hf"), "--prompt", "The lamp", "--max-tokens", "12"};
  EXPECT_EQ(run(0, prompt + Arguments{"--archive", file("kept.h5"), "--tolerance", "0.4"})["ids"].size(), 12u);
}

TEST_F(Selection, FactorizesOnceForAWholeSweep) {
  const Arguments sweep = {"sweep", file("hf"), "--text",    file("text"), "--evaluate-windows",
                           "1",     "--topk",   "0.5:1:0.25"};
  const json once = run(2, sweep + Arguments{"--tile", "32", "--output", file("once.csv")});
  ASSERT_EQ(once["rows"].size(), 4u);
  EXPECT_EQ(once["factorizations"], 1);
  EXPECT_LT(once["rows"][3]["evaluation"][0]["divergence"].get<double>(), 1e-4);  // all singular values, in bf16
  run(2, Arguments{"compress", file("hf"), "--output", file("made.h5"), "--method", "plain", "--tile", "32", "--topk",
                   "0.75"});
  const json made = run(2, {"perplexity", file("hf"), "--text", file("text"), "--windows", "1", "--context", "256",
                            "--archive", file("made.h5")});
  EXPECT_EQ(once["rows"][2]["evaluation"][0]["perplexity_after"], made["perplexity"]);

  const json none = run(2, sweep + Arguments{"--archive", file("kept.h5"), "--output", file("none.csv")});
  EXPECT_EQ(none["factorizations"], 0);
  for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(none["rows"][r]["evaluation"], once["rows"][r]["evaluation"]);
  EXPECT_FALSE(std::filesystem::exists(file("once.csv.vectors.hack-tmp")));
}

TEST_F(Selection, SaysWhatDoesNotGoTogether) {
  const auto fails = [](const Arguments& arguments, const std::string& says) {
    const ProgramResult result = run_hack(0, arguments);
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find(says), std::string::npos) << result.err;
  };
  const Arguments output = {"--output", file("no.h5")};
  fails(Arguments{"compress", file("hf"), "--max-rank", "8"} + output, "--method plain");
  fails(Arguments{"compress", file("hf"), "--max-rank", "8", "--method", "plain", "--storage", "factors"} + output,
        "--storage");
  fails(Arguments{"compress", file("kept.h5"), "--topk", "0.5", "--tile", "16"} + output, "--tile");
  fails({"perplexity", file("hf"), "--text", file("text"), "--topk", "0.5"}, "--archive");
  run(0, Arguments{"compress", file("hf"), "--topk", "0.5", "--output", file("made.h5")} + how);
  fails({"perplexity", file("hf"), "--text", file("text"), "--archive", file("made.h5"), "--topk", "0.2"},
        "--max-rank");
  fails({"sweep", file("hf"), "--text", file("text"), "--archive", file("kept.h5"), "--keep", "0.5", "--methods",
         "whiten", "--output", file("no.csv")},
        "--methods plain");
  EXPECT_FALSE(std::filesystem::exists(file("no.h5")));
}

}  // namespace
}  // namespace hack::testing
