// What the program says at the terminal: examples behind the help, completion, options that mean something, and
// `inspect` at a glance.

#include <algorithm>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/commands/commands.hpp"
#include "jobs/compression/archive_glance.hpp"
#include "jobs/session/completion.hpp"
#include "jobs/session/log.hpp"
#include "jobs/session/options.hpp"
#include "jobs/session/usage_error.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

/// The program's parser, which runs nothing.
struct Program {
  CLI::App app{"", "hack"};
  std::vector<std::unique_ptr<jobs::Command>> commands = jobs::make_commands(app);
};

/// The words of a line, as a shell has them; single quotes alone are known here.
Arguments words_of_line(const std::string& line) {
  Arguments words;
  bool is_quoted = false, is_open = false;
  for (const char c : line) {
    if (c == '\'') is_quoted = !is_quoted;
    if (c == ' ' && !is_quoted) is_open = false;
    if (c == '\'' || (c == ' ' && !is_quoted)) continue;
    if (!is_open) words.emplace_back();
    is_open = true;
    words.back() += c;
  }
  return words;
}

TEST(Help, EndsWithExamplesThatTheParserTakes) {
  for (const auto& command : Program().commands) {
    std::istringstream footer(command->app().get_footer());
    const std::string name = command->app().get_name();
    int examples = 0;
    for (std::string line; std::getline(footer, line);) {
      Arguments words = words_of_line(line);
      const auto program = std::find(words.begin(), words.end(), "hack");
      if (program == words.end()) continue;
      ++examples;
      words.erase(words.begin(), program + 1);
      ASSERT_FALSE(words.empty()) << line;
      EXPECT_EQ(words.front(), name) << line;
      std::reverse(words.begin(), words.end());
      Program fresh;
      std::string refusal;
      try {
        fresh.app.parse(words);
      } catch (const CLI::ParseError& error) {
        refusal = jobs::explain(fresh.app, error);
      }
      EXPECT_EQ(refusal, "") << line;
    }
    EXPECT_GE(examples, 1) << name << " has no example (jobs/commands/examples.cpp)";
  }
}

TEST(Help, OptionsThatMeanNothingToACommandAreNotThere) {
  const Program program;
  const auto has = [&](const std::string& command, const std::string& option) {
    return program.app.get_subcommand(command)->get_option_no_throw(option) != nullptr;
  };
  for (const char* option : {"--device", "--dtype", "--products"}) {
    EXPECT_FALSE(has("inspect", option)) << option;
    EXPECT_FALSE(has("tokenize", option)) << option;
    EXPECT_TRUE(has("perplexity", option)) << option;
  }
  for (const auto& command : program.commands) EXPECT_TRUE(has(command->app().get_name(), "--report"));
}

TEST(Completion, IsWhatBashTakes) {
  const TemporaryDirectory folder;
  write_file(folder / "model.gguf", "");
  const std::string script = (folder / "hack.bash").string();
  write_file(script, jobs::completion(Program().app, "bash"));
  // What is typed, and what must be among the answers.
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"hack per", "perplexity"},
      {"hack compress --calibration-w", "--calibration-windows"},
      {"hack compress m --mode ''", "full"},
      {"hack compress mod", "model.gguf"},
      {"hack bench de", "decode"},
      {"hack perplexity m --archive mod", "model.gguf"}};
  for (const auto& [typed, answer] : cases) {
    const ProgramResult result = run_shell(fmt::format(
        "cd {} && bash -c '. ./hack.bash; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _hack; "
        "printf \"%s\\n\" \"${{COMPREPLY[@]}}\"'",
        folder.path().string(), typed.ends_with("''") ? typed.substr(0, typed.size() - 2) + "\"\"" : typed));
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(("\n" + result.out).find("\n" + answer + "\n"), std::string::npos) << typed << ": " << result.out;
  }
}

TEST(Completion, IsWrittenForZshAndForNoOtherShell) {
  const ProgramResult zsh = run_shell("$HACK --completion zsh");
  EXPECT_EQ(zsh.status, 0) << zsh.err;
  EXPECT_TRUE(zsh.out.starts_with("#compdef hack\n")) << zsh.out.substr(0, 100);
  const ProgramResult other = run_shell("$HACK --completion fish");
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.err.find("bash or zsh"), std::string::npos) << other.err;
  if (run_shell("command -v zsh").status != 0) GTEST_SKIP() << "there is no zsh to read its script";
  const TemporaryDirectory folder;
  write_file(folder / "_hack", zsh.out);
  EXPECT_EQ(run_shell(fmt::format("zsh -n {}", (folder / "_hack").string())).status, 0);
}

TEST(Progress, NamesTheSlowestRankWhereThereIsOne) {
  const auto shown = [](std::optional<int> slowest) {
    ::testing::internal::CaptureStderr();
    const jobs::Log log(true);
    jobs::Progress(log, "compress", "layers").update(4, 4, slowest);
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(shown(2).find("compress: 4 of 4 layers ("), std::string::npos) << shown(2);
  EXPECT_NE(shown(2).find(", rank 2 is the slowest)"), std::string::npos) << shown(2);
  EXPECT_EQ(shown({}).find("slowest"), std::string::npos) << shown({});
}

TEST(Inspect, ShowsLayersInOrderAndTheWorstTiles) {
  const TemporaryDirectory folder;
  TinyModel tiny;
  tiny.layers = 11;
  write_hf(tiny, folder / "model");
  const std::string model = (folder / "model").string(), archive = (folder / "a.h5").string();
  ASSERT_EQ(run_hack(0, {"compress", model, "--output", archive, "--method", "plain", "--keep", "0.8"}).status, 0);
  const std::string report = (folder / "r.json").string();
  const ProgramResult shown = run_hack(0, {"inspect", archive, "--report", report});
  ASSERT_EQ(shown.status, 0) << shown.err;
  EXPECT_LT(shown.out.find("\n      9  █"), shown.out.find("\n     10  █")) << shown.out;
  EXPECT_NE(shown.out.find("\n     10  █"), std::string::npos) << shown.out;
  const nlohmann::json results = nlohmann::json::parse(read_file(report))["results"];
  ASSERT_EQ(results["layers"].size(), 11U);
  EXPECT_EQ(results["layers"][10]["layer"], 10);
  const nlohmann::json& worst = results["worst_tiles"];
  ASSERT_EQ(worst.size(), 5U);
  for (std::size_t t = 1; t < worst.size(); ++t) EXPECT_GE(worst[t - 1]["relative_error"], worst[t]["relative_error"]);
  const ProgramResult dense = run_hack(0, {"inspect", model});
  EXPECT_NE(dense.out.find("layers 0-10"), std::string::npos) << dense.out;
}

TEST(Inspect, BarsAreAsFullAsTheirShares) {
  EXPECT_EQ(jobs::bar(0.5, 4), "██░░");
  EXPECT_EQ(jobs::bar(0, 2), "░░");
  EXPECT_EQ(jobs::bar(7, 2), "██");
}

}  // namespace
}  // namespace hack::testing
