// Options as the parser sees them: every number of every subcommand, words that were mistyped, files that are named
// twice. Goes over the program's own options, so that a new one is tested without a new test.

#include <algorithm>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/commands/commands.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/near_miss.hpp"
#include "jobs/session/options.hpp"
#include "jobs/session/usage_error.hpp"
#include "kernels/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

/// The program's parser.
class Parser {
 public:
  Parser() : app_("", "hack"), commands_(jobs::make_commands(app_)) { app_.require_subcommand(1); }

  /// What is wrong with a command line; empty where nothing is.
  std::string refusal(Arguments arguments) {
    std::reverse(arguments.begin(), arguments.end());
    try {
      app_.parse(arguments);
      return "";
    } catch (const CLI::ParseError& error) {
      return jobs::explain(app_, error);
    }
  }

  std::vector<const CLI::App*> commands() const {
    std::vector<const CLI::App*> all;
    for (const auto& command : commands_) all.push_back(&command->app());
    return all;
  }

  const CLI::App& command(const std::string& name) const { return *app_.get_subcommand(name); }

 private:
  CLI::App app_;
  std::vector<std::unique_ptr<jobs::Command>> commands_;
};

bool is_number(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.starts_with("INT") || type.starts_with("UINT") || type.starts_with("FLOAT");
}

TEST(Options, EveryNumberIsFiniteInItsRangeAndNamed) {
  Parser parser;
  int numbers = 0;
  for (const CLI::App* command : parser.commands()) {
    for (const CLI::Option* option : jobs::options_of(*command)) {
      if (!is_number(*option)) continue;
      ++numbers;
      const std::string name = "--" + option->get_single_name();
      for (const std::string& value :
           {std::string("nan"), std::string("-nan"), std::string("inf"), std::string("-inf"), std::string("-1"),
            std::string("1e999"), std::string(309, '9'), std::string(), std::string("12abc"), std::string("0x1p3"),
            std::string(" 1"), std::string("18446744073709551615"), std::string("1e30")}) {
        const std::string refusal = parser.refusal({command->get_name(), name, value});
        EXPECT_NE(refusal.find(name), std::string::npos)
            << command->get_name() << " " << name << " '" << value << "': " << refusal;
        EXPECT_NE(refusal.find("not a"), std::string::npos) << refusal;
        EXPECT_LT(refusal.size(), 400u) << refusal;
      }
    }
  }
  EXPECT_GT(numbers, 60);
}

TEST(Options, KeepOfNothingIsNone) {
  Parser parser;
  for (const char* command : {"compress", "perplexity", "generate", "plan"}) {
    EXPECT_NE(parser.refusal({command, "--keep", "0"}).find("above 0"), std::string::npos) << command;
  }
  EXPECT_NE(parser.refusal({"generate", "--top-p", "0"}).find("above 0"), std::string::npos);
}

TEST(Options, WordsThatWereMistypedComeWithTheNearest) {
  Parser parser;
  const auto expect = [&](const Arguments& arguments, const std::string& words) {
    const std::string refusal = parser.refusal(arguments);
    EXPECT_NE(refusal.find(words), std::string::npos) << refusal;
  };
  expect({"perplexty", "model"}, "unknown command perplexty; did you mean perplexity?");
  expect({"squeeze"}, "unknown command squeeze\n");
  expect({"perplexity", "model", "--txt", "t"}, "perplexity has no option --txt; did you mean --text?");
  expect({"generate", "model", "--promt=a"}, "generate has no option --promt=a; did you mean --prompt?");
  expect({"compress", "model", "--kep", "0.5"}, "did you mean --keep?");
  expect({"compress", "model", "--codec", "q4-0"}, "did you mean q4_0?");
  expect({"compress", "model", "--method", "feedbck"}, "did you mean feedback?");
  expect({"perplexity", "model", "--device", "CUDA"}, "did you mean cuda?");
  expect({"perplexity", "model", "--device", "tpu"}, "one of cpu, cuda, auto");
}

TEST(Options, NearestWordIsMeantOrNoneIs) {
  const std::vector<std::string> words = {"compress", "sweep", "plan"};
  EXPECT_EQ(jobs::did_you_mean("compres", words), "; did you mean compress?");
  EXPECT_EQ(jobs::did_you_mean("swepe", words), "; did you mean sweep?") << "neighbours swapped";
  EXPECT_EQ(jobs::did_you_mean("Plan", words), "; did you mean plan?");
  EXPECT_EQ(jobs::did_you_mean("xyz", words), "");
  EXPECT_EQ(jobs::did_you_mean(std::string(1000, 'p'), words), "");
  EXPECT_EQ(jobs::did_you_mean("", words), "");
}

TEST(Options, TextsOfMessagesHaveNoControlCharacters) {
  EXPECT_EQ(hack::jobs::shortened(std::string("a\0b\x1b[2J\n", 8)), "a?b?[2J?");
  EXPECT_EQ(hack::jobs::shortened(std::string(61, 'x')), std::string(60, 'x') + "…");
}

TEST(Options, NumbersAreNumbersHoweverTyped) {
  Parser parser;
  ASSERT_EQ(parser.refusal({"generate", "m", "--prompt", "a", "--temperature", ".7", "--top-p", "+.5", "--seed", "12"}),
            "");
  const nlohmann::json generate = jobs::describe_options(parser.command("generate"));
  EXPECT_EQ(generate["temperature"], 0.7);
  EXPECT_EQ(generate["top-p"], 0.5);
  EXPECT_EQ(generate["seed"], 12);
  EXPECT_EQ(generate["max-tokens"], 100) << "defaults too";
  ASSERT_EQ(parser.refusal({"compress", "m", "--output", "a", "--keep", "5e-1", "--memory", "2G"}), "");
  const nlohmann::json compress = jobs::describe_options(parser.command("compress"));
  EXPECT_EQ(compress["keep"], 0.5) << "options of groups stand there too";
  EXPECT_EQ(nlohmann::json::parse(compress.dump()), compress);
  ASSERT_EQ(parser.refusal({"study", "strong", "m", "--output", "o", "--ranks", "1,2"}), "");
  EXPECT_EQ(jobs::describe_options(parser.command("study"))["ranks"], nlohmann::json({1, 2}));
}

class FileOptions : public ::testing::Test {
 protected:
  FileOptions() {
    for (const char* name : {"a.h5", "text", "study.json", "table.csv"}) write_file(file(name), name);
    fs::create_directory(file("model"));
    write_file(file("model/model.safetensors"), "weights");
    fs::create_symlink(file("a.h5"), file("link.h5"));
    fs::create_hard_link(file("text"), file("hard"));
  }

  std::string file(const std::string& name) const { return folder_ / name; }

  /// What is wrong with the files that a command line names; empty where nothing is.
  std::string refusal(const Arguments& arguments) {
    EXPECT_EQ(parser_.refusal(arguments), "");
    try {
      jobs::check_files(parser_.command(arguments.front()));
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  void expect(const Arguments& arguments, const Arguments& says) {
    const std::string text = refusal(arguments);
    for (const std::string& word : says) EXPECT_NE(text.find(word), std::string::npos) << word << ": " << text;
  }

  TemporaryDirectory folder_;
  Parser parser_;
};

TEST_F(FileOptions, WhatIsReadIsNotWritten) {
  const std::string over = "would write over";
  expect({"compress", file("a.h5"), "--keep", "0.3", "--output", file("a.h5")}, {"--output", "a.h5", over});
  expect({"compress", file("a.h5"), "--keep", "0.3", "--output", file("link.h5")}, {"--output", "a.h5", over});
  expect({"compress", file("a.h5"), "--keep", "0.3", "--output", file("model/../a.h5")}, {"--output", over});
  expect({"compress", file("model"), "--keep", "0.3", "--output", file("model/model.safetensors")}, {"--output", over});
  expect({"compress", file("model"), "--keep", "0.3", "--output", file("b"), "--calibration", file("text"), "--report",
          file("hard")},
         {"--report", over});
  expect({"perplexity", file("model"), "--archive", file("a.h5"), "--text", file("text"), "--per-token", file("a.h5")},
         {"--per-token", "a.h5", over});
  expect({"perplexity", file("model"), "--text", file("text"), "--records", file("text")}, {"--records", over});
  expect({"inspect", file("a.h5"), "--report", file("a.h5")}, {"--report", over});
  expect({"tokenize", file("model"), "--text", file("text"), "--report", file("text")}, {"--report", over});
  expect({"study", "strong", file("model"), "--links", file("study.json"), "--output", file("study")},
         {"--output", "study.json", over});
  expect({"sweep", file("model"), "--text", file("text"), "--keep", "0.5", "--output", file("text")},
         {"--output", over});
}

TEST_F(FileOptions, AllFilesOfAModelAreRead) {
  const std::string over = "would write over";
  const std::string first = file("m-00001-of-00002.gguf"), second = file("m-00002-of-00002.gguf");
  fs::create_directories(file("cache/snapshots/one"));
  for (const std::string& path : {first, second, file("cache/snapshots/one/config.json")}) write_file(path, "a model");
  expect({"compress", first, "--keep", "0.3", "--output", second}, {"--output", "00002-of", over});
  expect({"compress", second, "--keep", "0.3", "--output", file("b"), "--report", first}, {"--report", over});
  expect({"inspect", file("cache"), "--report", file("cache/snapshots/one/config.json")}, {"--report", over});
}

TEST_F(FileOptions, OutputsAreApart) {
  const std::string same = "would write the same file";
  expect({"compress", file("model"), "--keep", "0.3", "--output", file("new"), "--report", file("model/../new")},
         {"--output", "--report", same});
  expect({"perplexity", file("model"), "--text", file("text"), "--per-token", file("table.csv"), "--report",
          file("table.csv")},
         {"--per-token", "--report", same});
  expect({"sweep", file("model"), "--text", file("text"), "--keep", "0.5", "--output", file("t"), "--report",
          file("t.records")},
         {"--output", "--report", same});
}

TEST_F(FileOptions, WhatIsWrittenOnTheWayCounts) {
  write_file(file("o.unhealed"), "a text");
  Arguments compress = {"compress", file("model"), "--keep",        "0.3",
                        "--output", file("o"),     "--calibration", file("o.unhealed")};
  EXPECT_EQ(refusal(compress), "");
  compress.insert(compress.end(), {"--heal", "5"});
  expect(compress, {"--output", "o.unhealed", "would write over"});
}

TEST_F(FileOptions, OtherFilesAreFine) {
  EXPECT_EQ(refusal({"compress", file("a.h5"), "--keep", "0.3", "--output", file("b.h5"), "--report", file("r")}), "");
  EXPECT_EQ(refusal({"perplexity", file("model"), "--text", file("text"), "--records", file("a"), file("b"),
                     "--per-token", "/dev/null", "--report", "/dev/null"}),
            "");
  EXPECT_EQ(refusal({"perplexity", file("model"), "--text", file("text"), "--report", file("model/report")}), "");
}

TEST(FileOptionTypes, EveryOptionOfAFileSaysWhetherItIsReadOrWritten) {
  Parser parser;
  int found = 0;
  const auto expect = [&](const CLI::App& command, const char* name, const std::string& type) {
    const CLI::Option* option = command.get_option_no_throw(name);
    if (option == nullptr) return;
    ++found;
    EXPECT_EQ(option->get_type_name(), type) << command.get_name() << " " << name;
  };
  for (const CLI::App* command : parser.commands()) {
    for (const char* name :
         {"MODEL", "PATH", "--archive", "--text", "--calibration", "--evaluate", "--times", "--links", "--machine",
          "--compare", "--tasks", "--draft", "--chat", "--prompt-file", "--base", "DIRECTORY", "RUN"}) {
      expect(*command, name, jobs::input_type);
    }
    for (const char* name :
         {"--output", "--report", "--per-token", "--records", "--save-all-logits", "--lm-eval-report"}) {
      expect(*command, name, jobs::output_type);
    }
  }
  EXPECT_GT(found, 30);
}

}  // namespace
}  // namespace hack::testing
