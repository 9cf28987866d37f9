// Broken inputs and lost ranks: the run ends soon on all ranks, says why, leaves nothing half-written, and goes on
// after what was finished.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int failed = 1;
constexpr int misused = 2;

/// A command line that cannot be carried out. %M is the whole model, %T a text, %O the folder of results.
struct Broken {
  std::string name;
  std::vector<std::string> arguments;
  int status;
  std::vector<std::string> says;  ///< all of it on stderr
};

void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.name; }

void cut_in_half(const fs::path& path) { fs::resize_file(path, fs::file_size(path) / 2); }

void set_in_json(const fs::path& path, const std::string& key, const json& value) {
  json object = json::parse(read_file(path));
  object[key] = value;
  write_file(path, object.dump());
}

/// Replaces the last number of a tensor in a safetensors file of f32.
void set_last_number(const fs::path& path, const std::string& tensor, float value) {
  std::string bytes = read_file(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const json header = json::parse(bytes.substr(sizeof(length), length));
  const std::size_t end = sizeof(length) + length + header.at(tensor).at("data_offsets").at(1).get<std::size_t>();
  std::memcpy(bytes.data() + end - sizeof(value), &value, sizeof(value));
  write_file(path, bytes);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

class Failures : public ::testing::TestWithParam<Broken> {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    const fs::path& at = folder_->path();
    std::string text;
    for (int i = 0; i < 20; ++i) text += fmt::format("Sentence {} of a text that is long enough.\n", i);
    write_file(at / "text", text);
    write_file(at / "short", "A");
    write_file(at / "empty", "");
    write_file(at / "latin1", "caf\xe9 " + text);
    write_models(at);
    write_archives(at);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static void write_models(const fs::path& at) {
    const TinyModel tiny;
    for (const char* name : {"model", "cut", "hidden", "intermediate", "heads", "no-weights", "no-config",
                             "no-tokenizer", "bad-json", "nan", "inf", "huge", "huge-inner"}) {
      write_hf(tiny, at / name);
    }
    cut_in_half(at / "cut/model.safetensors");
    set_in_json(at / "hidden/config.json", "hidden_size", tiny.hidden + 2);
    set_in_json(at / "intermediate/config.json", "intermediate_size", tiny.intermediate - 1);
    set_in_json(at / "heads/config.json", "num_key_value_heads", 4);
    fs::remove(at / "no-weights/model.safetensors");
    fs::remove(at / "no-config/config.json");
    fs::remove(at / "no-tokenizer/tokenizer.json");
    cut_in_half(at / "bad-json/config.json");
    set_last_number(at / "nan/model.safetensors", "model.layers.1.mlp.down_proj.weight", std::nanf(""));
    set_last_number(at / "inf/model.safetensors", "model.layers.0.self_attn.o_proj.weight",
                    std::numeric_limits<float>::infinity());
    set_last_number(at / "huge/model.safetensors", "model.layers.0.self_attn.o_proj.weight", 3e38f);
    for (const char* name : {"gate", "up"}) {
      set_last_number(at / "huge-inner/model.safetensors", fmt::format("model.layers.1.mlp.{}_proj.weight", name),
                      3e38f);
    }
    TinyModel sharded = tiny;
    sharded.shards = 2;
    write_hf(sharded, at / "no-shard");
    fs::remove(at / "no-shard/model-00002-of-00002.safetensors");
    TinyModel other = tiny;
    other.seed = 2;
    write_hf(other, at / "other");
    TinyModel tied = tiny;
    tied.tied = true;
    write_hf(tied, at / "tied");
    write_gguf(tiny, at / "cut.gguf", model::GgmlType::f32);
    cut_in_half(at / "cut.gguf");
  }

  static void write_archives(const fs::path& at) {
    const auto compress = [&](const char* model, const char* output) {
      const ProgramResult made = run_hack(0, {"compress", at / model, "--output", at / output, "--topk", "0.3",
                                              "--tile", "32", "--method", "plain", "--storage", "factors"});
      ASSERT_EQ(made.status, 0) << made.err;
    };
    compress("model", "whole.h5");
    compress("other", "other.h5");
    const std::string whole = read_file(at / "whole.h5");
    write_file(at / "cut.h5", whole.substr(0, whole.size() / 2));
    write_file(at / "start.h5", std::string(8, '\0') + whole.substr(8));
    write_file(at / "tables.h5", whole.substr(0, 96) + std::string(512, '\xff') + whole.substr(608));
    write_file(at / "text.h5", "no archive at all");
  }

  static TemporaryDirectory* folder_;
};

TemporaryDirectory* Failures::folder_ = nullptr;

TEST_P(Failures, EndSoonSayWhyAndLeaveNothing) {
  const Broken& broken = GetParam();
  for (int ranks : {0, 3}) {
    SCOPED_TRACE(ranks == 0 ? "alone" : "3 ranks");
    const TemporaryDirectory results;
    std::vector<std::string> arguments;
    for (std::string argument : broken.arguments) {
      argument = replaced(argument, "%O", results.path());
      arguments.push_back(replaced(argument, "%", folder_->path().string() + "/"));
    }
    // 20 s is ample: what is broken is seen at the start, also on a busy machine.
    const ProgramResult run = run_hack(ranks, arguments, 20);
    EXPECT_EQ(run.status, broken.status) << run.err;
    for (const std::string& word : broken.says)
      EXPECT_NE(run.err.find(word), std::string::npos) << word << " is not in:\n" << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_TRUE(fs::is_empty(results.path())) << "left behind: " << fs::directory_iterator(results.path())->path();
  }
}

std::string test_name(const ::testing::TestParamInfo<Broken>& info) { return info.param.name; }

Broken evaluation(const std::string& name, const std::string& model, std::vector<std::string> says) {
  return {name,
          {"perplexity", "%" + model, "--text", "%text", "--context", "32", "--per-token", "%O/losses.csv", "--report",
           "%O/report.json"},
          failed,
          std::move(says)};
}

Broken evaluation_of_archive(const std::string& name, const std::string& archive, std::vector<std::string> says = {}) {
  Broken broken = evaluation(name, "model", std::move(says));
  broken.arguments.insert(broken.arguments.end(), {"--archive", "%" + archive});
  broken.says.push_back(archive);
  return broken;
}

Broken evaluation_of_text(const std::string& name, const std::string& text, std::vector<std::string> says) {
  return {name,
          {"perplexity", "%model", "--text", "%" + text, "--context", "32", "--per-token", "%O/losses.csv"},
          failed,
          std::move(says)};
}

Broken compression(const std::string& name, const std::vector<std::string>& more, int status,
                   std::vector<std::string> says, const std::string& model = "model") {
  Broken broken{name,
                {"compress", "%" + model, "--output", "%O/a.h5", "--report", "%O/report.json", "--method", "plain"},
                status,
                std::move(says)};
  broken.arguments.insert(broken.arguments.end(), more.begin(), more.end());
  return broken;
}

/// A compression that is to be fitted to a text.
Broken fitting(const std::string& name, const std::vector<std::string>& more, std::vector<std::string> says,
               const std::string& model = "model") {
  Broken broken{name,
                {"compress", "%" + model, "--output", "%O/a.h5", "--report", "%O/report.json", "--keep", "0.5",
                 "--calibration-context", "64", "--tile", "32"},
                failed,
                std::move(says)};
  broken.arguments.insert(broken.arguments.end(), more.begin(), more.end());
  return broken;
}

INSTANTIATE_TEST_SUITE_P(
    Models, Failures,
    ::testing::Values(
        evaluation("TruncatedSafetensors", "cut", {"cut/model.safetensors"}),
        evaluation("TruncatedGguf", "cut.gguf", {"cut.gguf"}),
        evaluation("OtherHiddenSize", "hidden", {"hidden", "weight", "70", "72"}),
        evaluation("OtherIntermediateSize", "intermediate", {"intermediate", "mlp.", "150", "151"}),
        evaluation("OtherHeads", "heads", {"heads/config.json", "10", "4"}),
        evaluation("BrokenConfig", "bad-json", {"bad-json/config.json"}), evaluation("NoModel", "nowhere", {"nowhere"}),
        evaluation("NoConfig", "no-config", {"config.json"}),
        evaluation("NoWeights", "no-weights", {"model.safetensors"}),
        evaluation("NoShard", "no-shard", {"model-00002-of-00002.safetensors"}),
        evaluation("NoTokenizer", "no-tokenizer", {"tokenizer.json"}),
        evaluation("NanWeight", "nan", {"model.layers.1.mlp.down_proj.weight"}),
        evaluation("InfiniteWeight", "inf", {"model.layers.0.self_attn.o_proj.weight"}),
        evaluation("OverflowingStream", "huge", {"overflow", "output of model.layers.0.self_attn.o_proj"}),
        evaluation("OverflowingInput", "huge-inner", {"overflow", "input of model.layers.1.mlp.down_proj"}),
        Broken{"OverflowToGenerate",
               {"generate", "%huge", "--prompt", "A"},
               failed,
               {"overflow", "output of model.layers.0.self_attn.o_proj"}},
        Broken{"NoModelToInspect", {"inspect", "%nowhere"}, failed, {"nowhere"}},
        Broken{"NoModelToGenerate", {"generate", "%nowhere", "--prompt", "A"}, failed, {"nowhere"}}),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Archives, Failures,
    ::testing::Values(
        evaluation_of_archive("OfAnotherModel", "other.h5", {"another model"}),
        evaluation_of_archive("Missing", "nowhere.h5"), evaluation_of_archive("Truncated", "cut.h5"),
        evaluation_of_archive("StartOverwritten", "start.h5"), evaluation_of_archive("TablesOverwritten", "tables.h5"),
        evaluation_of_archive("SomethingElse", "text.h5"),
        Broken{"InspectTruncated", {"inspect", "%cut.h5"}, failed, {"cut.h5", "hack compress MODEL --output FILE"}}),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Texts, Failures,
    ::testing::Values(evaluation_of_text("Latin1", "latin1", {"latin1", "UTF-8"}),
                      evaluation_of_text("TooShort", "short", {"text", "1 tokens", "--context"}),
                      evaluation_of_text("Empty", "empty", {"--text", "empty: is empty"}),
                      evaluation_of_text("Missing", "nowhere", {"--text", "nowhere"}),
                      Broken{"Latin1Prompt", {"generate", "%model", "--prompt", "caf\xe9"}, failed, {"UTF-8"}},
                      Broken{"NoIds", {"tokenize", "%model", "--decode", "--text", "%text"}, failed, {"Sentence"}}),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Options, Failures,
    ::testing::Values(
        compression("TopkAboveOne", {"--topk", "1.5"}, misused, {"--topk", "1.5"}),
        compression("TopkNoNumber", {"--topk", "half"}, misused, {"--topk", "half"}),
        compression("NegativeKeep", {"--keep", "-0.1"}, misused, {"--keep"}),
        compression("Unknown", {"--topk", "0.5", "--top-k", "3"}, misused, {"--top-k"}),
        compression("TwoRankRules", {"--topk", "0.5", "--keep", "0.5"}, misused, {"--topk", "--keep"}),
        compression("NoRankRule", {}, misused, {"--topk", "--keep", "--tolerance"}),
        compression("UnknownMatrix", {"--topk", "0.5", "--matrices", "gate,side"}, failed, {"--matrices", "side"}),
        compression("HeadThatIsTheEmbedding", {"--topk", "0.5", "--matrices", "gate,head"}, failed,
                    {"--matrices head", "embedding"}, "tied"),
        compression("UnknownMode", {"--topk", "0.5", "--mode", "half"}, misused, {"--mode", "half"}),
        compression("NoTileShape", {"--topk", "0.5", "--tile", "32xtall"}, misused, {"--tile", "32xtall", "128x512"}),
        compression("NoTile", {"--topk", "0.5", "--tile", "0"}, misused, {"--tile"}),
        compression("NanWeight", {"--topk", "0.5"}, failed, {"model.layers.1.mlp.down_proj.weight"}, "nan"),
        compression("TruncatedModel", {"--topk", "0.5"}, failed, {"model.safetensors"}, "cut"),
        Broken{"OutputInMissingFolder",
               {"compress", "%model", "--method", "plain", "--topk", "0.5", "--output", "%O/no/a.h5"},
               failed,
               {"no/a.h5"}},
        Broken{"ReportInMissingFolder", {"inspect", "%model", "--report", "%O/no/r.json"}, failed, {"no/r.json"}},
        compression("TargetLossOfPlain", {"--target-loss", "0.1"}, failed, {"--target-loss", "--calibration"}),
        Broken{
            "TargetToResume",
            {"compress", "%model", "--output", "%O/a.h5", "--calibration", "%text", "--target-loss", "0.1", "--resume"},
            failed,
            {"--resume", "--target-loss"}},
        compression("TargetAndBudget", {"--target-loss", "0.1", "--keep", "0.5"}, misused, {"--target-loss", "--keep"}),
        Broken{"UnknownShape",
               {"compress", "--shape", "llama-9", "--output", "%O/a.h5", "--keep", "0.5"},
               failed,
               {"llama-9", "llama-3.2-1b"}},
        Broken{
            "NeitherModelNorShape", {"compress", "--output", "%O/a.h5", "--keep", "0.5"}, failed, {"MODEL", "--shape"}},
        Broken{"ModelAndShape",
               {"compress", "%model", "--shape", "llama-3.2-1b", "--output", "%O/a.h5", "--keep", "0.5"},
               misused,
               {"--shape"}},
        Broken{"NoOutput", {"compress", "%model", "--topk", "0.5"}, misused, {"--output"}},
        Broken{"NoSubcommand", {}, misused, {"subcommand"}},
        Broken{"UnknownSubcommand",
               {"perplexty", "%model"},
               misused,
               {"unknown command perplexty; did you mean perplexity?"}},
        Broken{"TensorParallel",
               {"perplexity", "%model", "--text", "%text", "--context", "32", "--tensor-parallel", "2"},
               failed,
               {"--tensor-parallel 2", "divisor"}},
        Broken{"NanDeadline",
               {"inspect", "%model", "--deadline", "nan"},
               misused,
               {"--deadline", "'nan' is not a number"}},
        Broken{"SeedBelowZero",
               {"generate", "%model", "--prompt", "A", "--seed", "-1"},
               misused,
               {"--seed", "'-1' is not a whole number"}},
        Broken{"OutputIsInput",
               {"compress", "%whole.h5", "--keep", "0.3", "--output", "%whole.h5"},
               failed,
               {"--output", "would write over", "whole.h5"}},
        Broken{"UnknownProtocol",
               {"perplexity", "%model", "--text", "%text", "--protocol", "4096"},
               misused,
               {"--protocol", "4096"}},
        Broken{"UnknownDevice", {"perplexity", "%model", "--device", "tpu"}, misused, {"--device", "tpu"}}),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Calibrations, Failures,
    ::testing::Values(
        fitting("NoText", {}, {"--method feedback", "--calibration"}),
        fitting("MissingText", {"--calibration", "%nowhere"}, {"--calibration", "nowhere"}),
        fitting("ShortText", {"--calibration", "%short"}, {"--calibration", "short", "--calibration-context", "64"}),
        fitting("EmptyText", {"--calibration", "%empty"}, {"--calibration", "empty: is empty"}),
        fitting("Latin1Text", {"--calibration", "%latin1"}, {"--calibration", "latin1", "UTF-8"}),
        fitting("PlainWithText", {"--method", "plain", "--calibration", "%text"},
                {"--method plain", "--calibration", "text"}),
        fitting("PlainWithRefinement", {"--method", "plain", "--refine", "4"}, {"--method plain", "--refine"}),
        fitting("RefinementOfHalfAnMlp",
                {"--terms", "lowrank", "--calibration", "%text", "--refine", "4", "--matrices", "gate,down"},
                {"--refine 4", "--matrices", "up"}),
        fitting("RefinementOfDenseInputs",
                {"--terms", "lowrank", "--calibration", "%text", "--refine", "4", "--inputs", "dense"},
                {"--refine 4", "--inputs", "dense"}),
        fitting("MissingTextToEvaluate", {"--calibration", "%text", "--evaluate", "%nowhere"},
                {"--evaluate", "nowhere"}),
        fitting("ShortTextToEvaluate", {"--calibration", "%text", "--evaluate", "%short"},
                {"--evaluate", "short", "256"}),
        fitting("NanWeight", {"--calibration", "%text"}, {"model.layers.1.mlp.down_proj.weight"}, "nan"),
        fitting("OverflowingInput", {"--calibration", "%text"},
                {"input of model.layers.1.mlp.down_proj", "NaN or infinite"}, "huge-inner")),

    test_name);

Broken sweep(const std::string& name, const std::vector<std::string>& more, std::vector<std::string> says) {
  Broken broken{name, {"sweep", "%model", "--output", "%O/sweep.csv", "--text", "%text"}, failed, std::move(says)};
  broken.arguments.insert(broken.arguments.end(), more.begin(), more.end());
  return broken;
}

INSTANTIATE_TEST_SUITE_P(
    Sweeps, Failures,
    ::testing::Values(sweep("UnknownMethod", {"--keep", "0.5", "--methods", "plain,best"}, {"--methods", "best"}),
                      sweep("NoShare", {"--keep", "0.5,x", "--methods", "plain"}, {"--keep", "'x'"}),
                      sweep("NoRange", {"--keep", "0.9:0.5:0.1", "--methods", "plain"}, {"--keep", "0.9:0.5:0.1"}),
                      sweep("NoText", {"--keep", "0.5", "--methods", "plain,loss"}, {"--calibration"}),
                      sweep("NoFolder", {"--keep", "0.5", "--methods", "plain", "--keep-archives", "%O/no"},
                            {"--keep-archives", "no"})),
    test_name);

/// A compression that takes some seconds, to be disturbed in the middle.
class LostRank : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    TinyModel wide;
    wide.hidden = 640;
    wide.intermediate = 6400;
    write_hf(wide, folder_->path() / "wide");
    // Fitting factors to a text is the longer job, and many times as long under sanitizers.
#if defined(__SANITIZE_ADDRESS__)
    wide.intermediate = 1024;
#endif
    write_hf(wide, folder_->path() / "fitted");
    std::string text;
    for (int i = 0; i < 60; ++i) text += fmt::format("Sentence {} of a text that is long enough.\n", i);
    write_file(folder_->path() / "text", text);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  struct Outcome {
    bool sent;       ///< the signal met a running rank
    int status;      ///< of mpirun
    double seconds;  ///< from the signal to the end of mpirun
    std::string err;
    std::vector<std::string> left;  ///< processes that were still there a second later (they are ended then)
  };

  /// Starts a compression on three ranks and sends one of them a signal `delay` seconds after the archive was begun, so
  /// that the moment does not depend on how busy the machine is. Processes are known by the path of the output, which
  /// is in no other command line.
  static Outcome disturb(const std::string& model, const fs::path& output, double delay, const std::string& signal,
                         int victim, const std::string& more) {
    const std::string script = R"SH(
now() { date +%s.%N; }
"$MPIRUN" -n 3 "$HACK" compress 'MODEL' --output 'OUTPUT' --topk 0.5 --threads 1 MORE &
mpirun=$!
while kill -0 $mpirun 2>/dev/null && [ ! -e 'OUTPUT.hack-tmp' ]; do sleep 0.02; done
sleep DELAY
rank=$(pgrep -P $mpirun -f 'OUTPUT' | sed -n VICTIMp)
start=$(now)
[ -n "$rank" ] && kill -SIGNAL $rank && echo sent
wait $mpirun
status=$?
echo "ended $status $start $(now)"
sleep 1
pgrep -f 'OUTPUT' | while read left; do echo "left $left"; kill -KILL $left; done
true
)SH";
    std::string command = replaced(script, "MODEL", (folder_->path() / model).string());
    command = replaced(replaced(command, "OUTPUT", output), "MORE", more);
    command = replaced(replaced(command, "DELAY", fmt::format("{:.2f}", delay)), "VICTIM", std::to_string(victim));
    const ProgramResult run = run_shell(replaced(command, "SIGNAL", signal), 90);
    EXPECT_EQ(run.status, 0) << run.err;
    Outcome outcome{false, -1, 0, run.err, {}};
    std::istringstream lines(run.out);
    for (std::string word; lines >> word;) {
      if (word == "sent") outcome.sent = true;
      if (word == "ended") {
        double start = 0;
        double end = 0;
        lines >> outcome.status >> start >> end;
        outcome.seconds = end - start;
      }
      if (word == "left" && lines >> word) outcome.left.push_back(word);
    }
    return outcome;
  }

  static ProgramResult compress(const std::string& model, const fs::path& output, const std::string& more) {
    return run_shell(fmt::format("\"$MPIRUN\" -n 3 \"$HACK\" compress '{}' --output '{}' --topk 0.5 --threads 1 {}",
                                 (folder_->path() / model).string(), output.string(), more),
                     90);
  }
  static void kill_at(const std::vector<double>& moments, const std::string& model, const std::string& more);
  static void resume(const std::string& model, const fs::path& output, const std::string& more,
                     const std::string& whole);

  static TemporaryDirectory* folder_;
};

TemporaryDirectory* LostRank::folder_ = nullptr;

void LostRank::kill_at(const std::vector<double>& moments, const std::string& model, const std::string& more) {
  constexpr int most_resumed = 2;
  int met = 0, resumed = 0;
  int i = 0;
  const TemporaryDirectory whole;
  ASSERT_EQ(compress(model, whole / "whole.h5", more).status, 0);
  for (const double moment : moments) {
    SCOPED_TRACE(fmt::format("rank {} killed {} s after the archive was begun", i % 3, moment));
    const TemporaryDirectory results;
    const Outcome outcome = disturb(model, results / "killed.h5", moment, "KILL", i++ % 3 + 1, "--quiet " + more);
    EXPECT_TRUE(outcome.left.empty());
    EXPECT_FALSE(fs::exists(results / "killed.h5.hack-tmp"));
    // A rank that dies after the last rename cannot take the archive back: it is whole then.
    const bool written = fs::exists(results / "killed.h5");
    if (written) {
      EXPECT_EQ(run_hack(0, {"inspect", results / "killed.h5"}).status, 0);
    }
    if (!outcome.sent) continue;
    EXPECT_NE(outcome.status, 0);
    EXPECT_LT(outcome.seconds, 20);
    met += !written;
    if (fs::exists(results / "killed.h5.parts") && ++resumed <= most_resumed) {
      resume(model, results / "killed.h5", more, read_file(whole / "whole.h5"));
    }
  }
  EXPECT_GE(met, 2) << "the compression is over too soon to be disturbed";
}

/// Goes on after what a killed run has finished, which may be nothing yet (the journal is written beside the work): the
/// archive is that of a run which nobody disturbed. That finished steps are taken up, and not made again, test_compress
/// shows.
void LostRank::resume(const std::string& model, const fs::path& output, const std::string& more,
                      const std::string& whole) {
  const ProgramResult run = compress(model, output, more + " --resume");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_TRUE(read_file(output) == whole);
  EXPECT_FALSE(fs::exists(output.string() + ".parts"));
}

TEST_F(LostRank, KilledAtAnyMomentEndsTheRunAndLeavesNothing) {
  kill_at({0, 0.15, 0.3, 0.5, 0.8, 1.2}, "wide", "--method plain");
}

TEST_F(LostRank, KilledBetweenLayersEndsTheRunAndLeavesNothing) {
  const std::string text = (folder_->path() / "text").string();
  kill_at({0, 0.5, 1.0}, "fitted", fmt::format("--calibration '{}' --calibration-context 64 --matrices gate,up", text));
}

TEST_F(LostRank, StoppedRankEndsTheRunAtTheDeadline) {
  for (int victim : {1, 3}) {
    SCOPED_TRACE(fmt::format("rank {} stopped", victim - 1));
    const TemporaryDirectory results;
    const Outcome outcome =
        disturb("wide", results / "stopped.h5", 0, "STOP", victim, "--quiet --deadline 3 --method plain");
    EXPECT_TRUE(outcome.sent);
    EXPECT_NE(outcome.status, 0);
    // The others' own work (seconds, more under sanitizers), 3 s of waiting, then mpirun's patience with a process that
    // does not answer. Without the deadline it would be forever.
    EXPECT_LT(outcome.seconds, 60);
    EXPECT_NE(outcome.err.find("waited 3 s in "), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("--deadline"), std::string::npos) << outcome.err;
    EXPECT_TRUE(outcome.left.empty()) << outcome.left.size() << " processes";
    EXPECT_TRUE(fs::is_empty(results.path())) << "left behind: " << fs::directory_iterator(results.path())->path();
  }
}

}  // namespace
}  // namespace hack::testing
