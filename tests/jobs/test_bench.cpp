// Benches of shapes with random weights: that they run on any number of ranks and say what they timed. No timing is
// checked.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

class Bench : public ::testing::Test {
 protected:
  ProgramResult run(const std::string& arguments, int ranks = 0) const {
    const std::string launcher = ranks > 0 ? fmt::format("\"$MPIRUN\" -n {} ", ranks) : "";
    return run_shell(fmt::format("cd '{}' && {}\"$HACK\" bench {}", folder_.path().string(), launcher, arguments));
  }
  json results(const std::string& arguments, int ranks = 0) const {
    const ProgramResult done = run(arguments + " --repeats 1 --report report.json", ranks);
    EXPECT_EQ(done.status, 0) << done.err;
    return json::parse(read_file((folder_.path() / "report.json").string()))["results"];
  }

  TemporaryDirectory folder_;
};

TEST_F(Bench, AppliesOneMatrixInEveryForm) {
  const json out = results("apply --shape llama-3.2-1b --matrix k --ranks 16,8 --batches 1,9 --types bf16");
  constexpr std::size_t codecs = 8;  // with blocks
  ASSERT_EQ(out["rows"].size(), 2 * (1 + codecs + 2 * 2));
  const json& dense = out["rows"][0];
  EXPECT_EQ(dense["kind"], "dense");
  EXPECT_EQ(dense["rows"], 512);
  EXPECT_EQ(dense["columns"], 2048);
  EXPECT_EQ(dense["bytes"], 2 * 512 * 2048);
  const json& coded = out["rows"][1];
  EXPECT_EQ(coded["kind"], "dense");
  EXPECT_EQ(coded["codec"], "q8_0");
  EXPECT_EQ(coded["bytes"], 34 * 512 * 2048 / 32);
  const json& factors = out["rows"][1 + codecs];
  EXPECT_EQ(factors["kind"], "factors");
  EXPECT_EQ(factors["rank"], 8);
  EXPECT_DOUBLE_EQ(factors["speedup_by_flops"], 128.0 * 128 / (8 * 256));
  for (const json& row : out["rows"]) {
    for (const char* figure : {"seconds", "gigabytes_per_second", "gigaflops", "limit", "share_of_limit"}) {
      EXPECT_GT(row[figure], 0) << figure;
    }
  }
  EXPECT_EQ(out["break_even"].size(), 4u);
}

TEST_F(Bench, AppliesFactorsOfAnyCodec) {
  const std::string apply = "apply --shape llama-3.2-1b --matrix k --ranks 32 --batches 1 --types f32 --codec ";
  const json rows = results(apply + "int8")["rows"], plain = results(apply + "bf16")["rows"];
  EXPECT_EQ(rows[0]["codec"], "f32");
  EXPECT_EQ(plain.back()["codec"], "f32");  // held as --types says
  EXPECT_EQ(rows.back()["codec"], "int8");
  EXPECT_LT(rows.back()["bytes"].get<double>(), 0.3 * plain.back()["bytes"].get<double>());
}

TEST_F(Bench, TakesTheOldWordForInterpolative) {
  const std::string decode = "decode --shape llama-3.2-1b --layers 1 --rank 8 --tokens 2 --threads 1 --storage ";
  const json old = results(decode + "pivoted")["rows"][0], present = results(decode + "interpolative")["rows"][0];
  EXPECT_EQ(old["storage"], "interpolative");
  EXPECT_EQ(old["bytes"], present["bytes"]);
  const ProgramResult unknown = run(decode + "rotated");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.err.find("'rotated' is not one of interpolative, factors"), std::string::npos) << unknown.err;
}

TEST_F(Bench, RunsShapesWithRandomFactorsOnAnyNumberOfRanks) {
  for (const int ranks : {1, 3}) {
    const json decode =
        results("decode --shape llama-3.2-1b --layers 1 --rank 8 --dtype bf16 --tokens 2 --threads 1", ranks);
    const json& row = decode["rows"][0];
    EXPECT_EQ(row["shape"], "llama-3.2-1b");
    EXPECT_EQ(row["rank"], 8);
    EXPECT_EQ(row["storage"], "interpolative");
    EXPECT_EQ(row["ranks"], ranks);
    EXPECT_EQ(row["replayed"], false);
    EXPECT_GT(row["phases"]["weights"], 0);
    EXPECT_GT(row["phases"]["attention"], 0);
    EXPECT_GT(row["phases"]["communication"], 0);  // on one rank the calls alone
    EXPECT_EQ(row["tokens_per_second"], decode["tokens_per_second"]);
    EXPECT_GT(row["limit"], 0);
  }
  const json prefill = results("prefill --shape llama-3.2-1b --layers 1 --dtype bf16 --tokens 16");
  EXPECT_GT(prefill["rows"][0]["gigaflops"], 0);
  const json windows = results("perplexity --shape llama-3.2-1b --layers 1 --dtype bf16 --tokens 16");
  EXPECT_GT(windows["rows"][0]["peak_memory_bytes"], 0);
}

TEST_F(Bench, ReadsFactorsInTheirOwnCodec) {
  const std::string decode = "decode --shape llama-3.2-1b --layers 1 --rank 64 --dtype bf16 --tokens 2 --threads 1";
  const json halves = results(decode)["rows"][0];
  const json integers = results(decode + " --codec int8")["rows"][0];
  EXPECT_EQ(halves["codec"], "bf16");
  EXPECT_EQ(integers["codec"], "int8");
  // Gate, up and down are (8192, 2048) or its transpose: 3 * 64 * 16 tiles of 128 × 128 and rank 64, each 12,288
  // numbers, one byte less a number, and 128 scales of 2 bytes.
  const double saved = 3 * 64 * 16 * (12288.0 - 256);
  EXPECT_NEAR(halves["bytes"].get<double>() - integers["bytes"].get<double>(), saved, 1e-3 * saved);
}

TEST_F(Bench, FactorizesBesideTheLibrary) {
  for (const int ranks : {1, 3}) {
    const json rows = results("svd --device cpu --tile 20 --vectors 0,7 --tiles 10 --threads 1", ranks)["rows"];
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[1]["vectors"], 7);
    EXPECT_EQ(rows[1]["ranks"], ranks);
    EXPECT_EQ(rows[1]["device"], "cpu");
    EXPECT_GT(rows[1]["sgesdd_tiles_per_second"], 0);
    EXPECT_GT(rows[1]["ratio"], 0);
    EXPECT_GT(rows[1]["limit"], 0);
  }
}

TEST_F(Bench, SaysWhatADraftCostsAndWhatThatAllows) {
  write_hf({}, (folder_.path() / "hf").string());
  ASSERT_EQ(
      run_shell(fmt::format("cd '{}' && \"$HACK\" compress hf --output a.h5 --codec q8_0 --method plain --tile 32",
                            folder_.path().string()))
          .status,
      0);
  const json row = results("decode hf --draft a.h5 --draft-tokens 3 --tokens 40")["rows"][0];
  const double a = row["acceptance"], model = row["model_seconds"];
  const double pass = model + 3 * (row["draft_seconds"].get<double>() + row["further_seconds"].get<double>());
  EXPECT_NEAR(row["expected_tokens_per_second"].get<double>(), (1 + a + a * a + a * a * a) / pass, 1e-6 / pass);
  EXPECT_NEAR(row["share_of_expected"].get<double>() * row["expected_tokens_per_second"].get<double>(),
              row["tokens_per_second"], 1e-6 * row["tokens_per_second"].get<double>());
  const std::string words = run("decode hf --draft a.h5 --tokens 20 --repeats 1").out;
  for (const char* part : {"acceptance", "of the model's time", "proposed a pass", "of it reached"}) {
    EXPECT_NE(words.find(part), std::string::npos) << words;
  }
}

TEST_F(Bench, AsksForAModel) {
  EXPECT_NE(run("decode").status, 0);
  EXPECT_NE(run("decode --shape llama-3.1-8c").status, 0);
  EXPECT_NE(run("decode --rank 3").status, 0);
}

}  // namespace
}  // namespace hack::testing
