// jobs/plot: every script draws, from what the program writes, and reads archives as the program does.

#include <filesystem>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/support/paths.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

/// A Python that can draw; empty where there is none.
std::string plotting_python() {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (run_shell(fmt::format("{} -c 'import h5py, matplotlib, numpy'", python)).status == 0) return python;
  }
  return {};
}

void expect_done(const Arguments& arguments) {
  const ProgramResult result = run_hack(0, arguments);
  ASSERT_EQ(result.status, 0) << arguments.front() << "\n" << result.err;
}

TEST(Plot, DrawsEveryPictureAndReadsArchivesAsTheProgramDoes) {
  const std::string python = plotting_python();
  if (python.empty()) GTEST_SKIP() << "no Python here imports h5py, matplotlib and numpy (bash jobs/setup.sh --plots)";
  const TemporaryDirectory folder;
  const auto file = [&](const std::string& name) { return (folder / name).string(); };
  std::filesystem::create_directory(folder / "runs");
  write_hf({}, file("model"));
  std::string text;
  for (int i = 0; i < 12; ++i) text += fmt::format("The {}th lamp burned {} hours, then another.\n", i, i * 37 % 24);
  write_file(folder / "text.txt", text);
  // One archive for each way in which codes and scales lie, and one for each structure.
  const std::vector<std::pair<std::string, Arguments>> archives = {
      {"five", {"--codec", "q5_1"}},
      {"four", {"--codec", "iq4_nl"}},
      {"three", {"--codec", "q3_64"}},
      {"two", {"--codec", "q2_64"}},
      {"factors", {"--keep", "0.7", "--tile", "32", "--storage", "factors", "--factor-type", "bf16"}},
      {"rows", {"--keep", "0.7", "--tile", "32", "--factor-type", "int8"}}};
  for (const auto& [name, how] : archives) {
    expect_done(Arguments{"compress", file("model"), "--output", file(name + ".h5"), "--method", "plain", "--report",
                          file(name == "factors" ? "runs/compress.json" : "runs/other.json")} +
                how);
    expect_done({"export", file("model"), "--archive", file(name + ".h5"), "--format", "hf", "--type", "f32",
                 "--output", file(name)});
  }
  for (const char* name : {"dense", "factors"}) {
    Arguments run{"perplexity", file("model"), "--text",   file("text.txt"),
                  "--context",  "64",          "--report", file(fmt::format("runs/perplexity_{}.json", name))};
    if (std::string(name) != "dense") run = run + Arguments{"--archive", file("factors.h5")};
    expect_done(run);
  }
  expect_done({"bench", "apply", file("model"), "--ranks", "8,16", "--batches", "1", "--types", "f32", "--repeats", "1",
               "--report", file("runs/bench.json")});
  write_file(folder / "study.json",
             R"({"key": {"SCALING": "strong"}, "rows": [
                 {"phase": "decode", "ranks": 1, "rate": 10, "speedup": 1, "efficiency": 1},
                 {"phase": "decode", "ranks": 2, "rate": 18, "speedup": 1.8, "efficiency": 0.9}],
                 "larger": [{"phase": "decode", "ranks": 4, "rate": 30}]})");
  const ProgramResult drawn = run_shell(
      fmt::format("{0} {1}/tests/jobs/test_plot.py {1} {2}", python, HACK_SOURCE_DIR, folder.path().string()), 300);
  EXPECT_EQ(drawn.status, 0) << drawn.out << drawn.err;
}

}  // namespace
}  // namespace hack::testing
