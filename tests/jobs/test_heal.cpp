// A compressed model trained against the dense one, by the program.

#include <algorithm>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

class Heal : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    std::string text;
    for (int i = 0; i < 60; ++i) text += fmt::format("The {}th lamp in the harbour burned {} hours.\n", i, i * 37 % 60);
    write_file(file("text"), text);
    write_hf({}, file("hf"));
    const ProgramResult made = run_hack(0, compression("low.h5"));
    ASSERT_EQ(made.status, 0) << made.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string file(const std::string& name) { return (*folder_ / name).string(); }

  static Arguments compression(const std::string& output) {
    return {"compress",
            file("hf"),
            "--output",
            file(output),
            "--tile",
            "32",
            "--calibration",
            file("text"),
            "--terms",
            "lowrank",
            "--keep",
            "0.4",
            "--allocation",
            "even",
            "--threads",
            "1",
            "--calibration-context",
            "64"};
  }
  static Arguments healing(const std::string& output) {
    return {"heal",           file("hf"),
            "--archive",      file("low.h5"),
            "--output",       file(output),
            "--text",         file("text"),
            "--heal",         "25",
            "--heal-rate",    "3e-3",
            "--heal-batch",   "128",
            "--heal-context", "64",
            "--products",     "exact",
            "--threads",      "1",
            "--report",       file("report.json")};
  }

  /// With another value of an option.
  static Arguments with(Arguments arguments, const std::string& option, const std::string& value) {
    *(std::find(arguments.begin(), arguments.end(), option) + 1) = value;
    return arguments;
  }

  static json results(const ProgramResult& program) {
    EXPECT_EQ(program.status, 0) << program.err;
    return program.status == 0 ? json::parse(read_file(file("report.json")))["results"] : json();
  }

  static TemporaryDirectory* folder_;
};

TemporaryDirectory* Heal::folder_ = nullptr;

TEST_F(Heal, LowersTheDivergenceAtTheSameBytesOnEveryGrid) {
  const json one = results(run_hack(0, healing("one.h5")));
  EXPECT_LT(one["divergence_after"], 0.9 * one["divergence_before"].get<double>());
  EXPECT_LT(std::filesystem::file_size(file("one.h5")), std::filesystem::file_size(file("low.h5")) + 4096);
  // Two copies with a window of each step, then one copy on two ranks: sums round otherwise.
  const json copies = results(run_hack(2, healing("copies.h5")));
  EXPECT_EQ(copies["data_parallel"], 2);
  const json shared = results(run_hack(2, healing("shared.h5") + Arguments{"--tensor-parallel", "2"}));
  EXPECT_EQ(shared["tensor_parallel"], 2);
  for (const json& other : {copies, shared}) {
    EXPECT_NEAR(other["divergence_before"], one["divergence_before"], 1e-4 * one["divergence_before"].get<double>());
    EXPECT_NEAR(other["divergence_after"], one["divergence_after"], 0.02 * one["divergence_before"].get<double>());
  }
}

TEST_F(Heal, StoresWhatItMeasured) {
  const json healed = results(run_hack(0, healing("first.h5")));
  const json again =
      results(run_hack(0, with(with(healing("second.h5"), "--archive", file("first.h5")), "--heal", "0")));
  EXPECT_EQ(again["divergence_before"], healed["divergence_after"]);
  EXPECT_EQ(again["divergence_after"], healed["divergence_after"]);
  EXPECT_EQ(run_hack(0, {"inspect", file("second.h5")}).status, 0);
}

TEST_F(Heal, GoesOnAfterAKill) {
  const auto long_run = [](const std::string& output) { return with(healing(output), "--heal", "100"); };
  ASSERT_EQ(run_hack(2, long_run("whole.h5")).status, 0);
  std::string command = "\"$MPIRUN\" -n 2 \"$HACK\"";
  for (const std::string& argument : long_run("killed.h5")) command += " '" + argument + "'";
  // The state of step 20 is on disk when there is a second record of it; then the run is ended, with all its ranks: of
  // a launcher alone they notice the end too late.
  const ProgramResult killed = run_shell(fmt::format(
      "{} & run=$!; for i in $(seq 600); do [ -e '{}/rank-1.state-0' ] && break; sleep 0.05; done\n"
      "ranks=$(pgrep -P $run); kill -KILL $run $ranks; wait $run; status=$?\n"
      "for rank in $ranks; do for i in $(seq 600); do [ -e /proc/$rank/exe ] || break; sleep 0.05; done; done\n"
      "exit $status",
      command, file("killed.h5.heal")));
  EXPECT_NE(killed.status, 0);
  if (std::filesystem::exists(file("killed.h5"))) GTEST_SKIP() << "the run was over before it was killed";
  const ProgramResult resumed = run_hack(2, long_run("killed.h5") + Arguments{"--resume"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_TRUE(read_file(file("killed.h5")) == read_file(file("whole.h5")));
  EXPECT_FALSE(std::filesystem::exists(file("killed.h5.heal")));
}

TEST_F(Heal, TakesTheMemoryThatItSays) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  TinyModel wide;
  wide.hidden = 256;
  wide.intermediate = 2048;
  wide.layers = 4;
  write_hf(wide, file("wide"));
  for (const Arguments& terms : {Arguments{"--keep", "0.6"}, Arguments{"--codec", "q2_64"}}) {
    std::filesystem::remove(file("wide.h5"));
    const ProgramResult made = run_hack(
        0, Arguments{"compress", file("wide"), "--output", file("wide.h5"), "--method", "plain", "--threads", "2"} +
               terms);
    ASSERT_EQ(made.status, 0) << made.err;
    for (const int ranks : {0, 2}) {
      Arguments training = with(with(healing("trained.h5"), "--heal", "2"), "--archive", file("wide.h5"));
      training[1] = file("wide");
      const json found = results(run_hack(ranks, training + Arguments{"--tensor-parallel", ranks == 2 ? "2" : "1"}));
      const auto peaks = found["peak_memory_bytes"].get<std::vector<double>>();
      const double most = *std::max_element(peaks.begin(), peaks.end());
      EXPECT_NEAR(found["memory_formula_bytes"].get<double>() / most, 1, 0.1) << ranks << " ranks, " << terms[1];
    }
  }
}

TEST_F(Heal, FollowsACompression) {
  const Arguments training = {"--heal", "10",       "--heal-rate",      "3e-3", "--heal-batch", "128", "--heal-context",
                              "64",     "--report", file("report.json")};
  const json made = results(run_hack(0, compression("both.h5") + training));
  EXPECT_LT(made["heal"]["divergence_after"], made["heal"]["divergence_before"]);
  EXPECT_FALSE(std::filesystem::exists(file("both.h5.unhealed")));
  EXPECT_FALSE(std::filesystem::exists(file("both.h5.heal")));
  // A run that was killed while it trained has left this.
  ASSERT_EQ(run_hack(0, compression("left.h5.unhealed")).status, 0);
  const ProgramResult resumed =
      run_hack(0, compression("left.h5") + training + Arguments{"--resume", "--evaluate", file("text")});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("left.h5.unhealed is whole already"), std::string::npos) << resumed.err;
  EXPECT_EQ(results(resumed)["evaluation"].size(), 1);
  EXPECT_TRUE(read_file(file("left.h5")) == read_file(file("both.h5")));
  EXPECT_FALSE(std::filesystem::exists(file("left.h5.unhealed")));
}

TEST_F(Heal, RefusesWhatItCannotTrain) {
  const auto refused = [](const Arguments& arguments, const std::string& words) {
    const ProgramResult wrong = run_hack(0, arguments);
    EXPECT_NE(wrong.status, 0);
    EXPECT_NE(wrong.err.find(words), std::string::npos) << wrong.err;
  };
  refused(with(healing("no.h5"), "--heal-context", "100000"), "give a longer text or shorter windows");
  refused({"compress", file("hf"), "--output", file("no.h5"), "--method", "plain", "--keep", "0.5", "--heal", "5"},
          "--heal needs a text");
  write_file(file("no.h5.unhealed"), "mine");
  refused(compression("no.h5") + Arguments{"--heal", "5"}, "no.h5.unhealed is no archive");
  EXPECT_EQ(read_file(file("no.h5.unhealed")), "mine");
  EXPECT_FALSE(std::filesystem::exists(file("no.h5")));
}

}  // namespace
}  // namespace hack::testing
