// Losses of windows on disk: slices that are put together, runs that go on after a kill, at any number of ranks.

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

class RecordedPerplexity : public ::testing::Test {
 protected:
  RecordedPerplexity() {
    std::string text;
    for (int i = 0; i < 24; ++i) text += fmt::format("The {}th lamp burned {} hours.\n", i, (i * 37) % 24);
    write_file(file("text"), text);
    write_hf({}, file("model"));
  }

  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  /// The results of one run, which must succeed.
  nlohmann::json run(int ranks, const Arguments& more) const {
    Arguments arguments = {"perplexity", file("model"), "--text",       file("text"),        "--context",
                           "48",         "--report",    file("report"), "--tensor-parallel", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_hack(ranks, arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(read_file(file("report")))["results"];
  }

  TemporaryDirectory folder_;
};

TEST_F(RecordedPerplexity, OfSlicesAddsUpInEveryBit) {
  const nlohmann::json whole = run(2, {"--per-token", file("whole.csv")});
  const long windows = whole["windows"];
  ASSERT_GT(windows, 8);
  run(3, {"--slice", "1/2", "--records", file("a")});
  run(0, {"--slice", "2/2", "--records", file("b")});
  const nlohmann::json joined = run(2, {"--records", file("all"), file("a"), file("b"), "--per-token", file("j.csv")});
  EXPECT_EQ(joined["windows_from_records"], windows);
  EXPECT_EQ(joined["nll_sum"], whole["nll_sum"]);
  EXPECT_EQ(joined["perplexity"], whole["perplexity"]);
  EXPECT_EQ(joined["stderr"], whole["stderr"]);
  EXPECT_EQ(read_file(file("j.csv")), read_file(file("whole.csv")));
}

TEST_F(RecordedPerplexity, GoesOnAfterWhatAKilledRunHasFinished) {
  const nlohmann::json whole = run(0, {"--records", file("a")});
  const std::string records = read_file(file("a"));
  write_file(file("a"), records.substr(0, records.size() / 2));  // in the midst of a window
  const nlohmann::json again = run(4, {"--records", file("a")});
  EXPECT_GT(again["windows_from_records"], 2);
  EXPECT_LT(again["windows_from_records"], whole["windows"]);
  EXPECT_EQ(again["nll_sum"], whole["nll_sum"]);
}

TEST_F(RecordedPerplexity, BelongsToTheModelThatItWasMadeFrom) {
  run(0, {"--records", file("a")});
  const auto fails = [&](const std::string& what) {
    const ProgramResult result = run_hack(0, {"perplexity", file("model"), "--text", file("text"), "--context", "48",
                                              "--tensor-parallel", "1", "--records", file("a")});
    EXPECT_EQ(result.status, 1) << what;
    EXPECT_NE(result.err.find("--records"), std::string::npos) << what << result.err;
    EXPECT_NE(result.err.find("model is "), std::string::npos) << what << result.err;
  };
  const std::string config = read_file(file("model/config.json"));
  nlohmann::json scaled = nlohmann::json::parse(config);
  scaled["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  write_file(file("model/config.json"), scaled.dump());
  fails("the same weights with other frequencies");
  write_file(file("model/config.json"), config);
  std::string weights = read_file(file("model/model.safetensors"));
  weights[weights.size() - 4] = static_cast<char>(weights[weights.size() - 4] ^ 1);
  write_file(file("model/model.safetensors"), weights);
  fails("the last bit of the last number");
}

TEST_F(RecordedPerplexity, RefusesWhatDoesNotFit) {
  run(0, {"--records", file("a"), "--windows", "1"});
  const auto fails = [&](const Arguments& more, const std::string& message) {
    Arguments arguments = {"perplexity", file("model"), "--text", file("text"), "--context", "48"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_hack(2, arguments);
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  };
  fails({"--records", file("a"), "--tensor-parallel", "2"}, "tensor-parallel is 1, here 2");
  fails({"--records", file("a"), file("missing"), "--tensor-parallel", "1"}, "there is no such file");
  fails({"--slice", "1/1000"}, "--slice 1/1000: there are no more than");
  fails({"--slice", "3/2"}, "give I/N with I from 1 to N");
}

}  // namespace
}  // namespace hack::testing
