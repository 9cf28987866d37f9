// The program as its users start it: every subcommand on tiny models, alone and under mpirun.

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/device.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

/// A finished run and the `results` of its report.
struct Finished {
  ProgramResult program;
  json report;
  json results;
};

long count_lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

/// About 1,400 tokens of the tiny tokenizer, its merges and bytes outside ASCII among them.
std::string sample_text() {
  std::string text;
  for (int i = 0; i < 24; ++i) {
    text += fmt::format("The {}th lamp in the “harbour” burned {} hours, then another took over.\n", i, (i * 37) % 24);
  }
  return text;
}

class Program : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    write_file(file("text"), sample_text());
    write_hf({}, file("hf"));
    write_gguf({}, file("tiny.gguf"), model::GgmlType::f32);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string file(const std::string& name) { return (*folder_ / name).string(); }

  /// Runs with --report; the test fails if the run does.
  static Finished run(int ranks, const Arguments& arguments) {
    static int number = 0;
    const std::string path = file(fmt::format("report{}.json", number++));
    Finished run{run_hack(ranks, arguments + Arguments{"--report", path}), {}, {}};
    EXPECT_EQ(run.program.status, 0) << fmt::format("{}", fmt::join(arguments, " ")) << "\n" << run.program.err;
    if (run.program.status != 0) return run;
    run.report = json::parse(read_file(path));
    run.results = run.report["results"];
    return run;
  }

  static json perplexity(int ranks, const std::string& model, const Arguments& more = {}) {
    return run(ranks, Arguments{"perplexity", file(model), "--text", file("text"), "--context", "96"} + more).results;
  }

  /// Plain truncation, as two factors unless told otherwise.
  static Finished compress(int ranks, const std::string& model, const std::string& archive, const Arguments& more) {
    const bool has_storage = std::count(more.begin(), more.end(), "--storage") > 0;
    const Arguments storage = has_storage ? Arguments{} : Arguments{"--storage", "factors"};
    return run(ranks,
               Arguments{"compress", file(model), "--output", file(archive), "--method", "plain"} + storage + more);
  }

  static Finished generate(int ranks, const Arguments& more = {}) {
    return run(ranks, Arguments{"generate", file("hf"), "--prompt", "The lamp in the", "--max-tokens", "24"} + more);
  }

  /// An archive of the model `hf` that several tests read: tiles of three kinds of edges, all matrices.
  static std::string shared_archive() {
    const Arguments how = {"--tile", "32", "--topk", "0.4", "--factor-type", "f32", "--matrices", "all"};
    if (!std::filesystem::exists(file("shared.h5"))) compress(2, "hf", "shared.h5", how);
    return file("shared.h5");
  }

  static TemporaryDirectory* folder_;
};

TemporaryDirectory* Program::folder_ = nullptr;

double relative(const json& value, const json& reference) {
  return std::abs(value.get<double>() / reference.get<double>() - 1);
}

TEST_F(Program, TokenizesAndDecodesBack) {
  const Finished hf = run(0, {"tokenize", file("hf"), "--text", file("text")});
  EXPECT_EQ(count_lines(hf.program.out), hf.results["tokens"].get<long>());
  EXPECT_EQ(run_hack(3, {"tokenize", file("tiny.gguf"), "--text", file("text")}).out, hf.program.out);
  std::istringstream ids(hf.program.out);
  long long sum = 0;
  for (int id = 0; ids >> id;) sum += id;
  EXPECT_EQ(hf.results["sum"].get<long long>(), sum);

  write_file(file("ids"), hf.program.out);
  EXPECT_EQ(run(0, {"tokenize", file("hf"), "--decode", "--text", file("ids")}).program.out, sample_text());
}

TEST_F(Program, PutsTheModelsFirstTokenBeforeAText) {
  TinyModel tiny;
  tiny.adds_bos = true;
  write_hf(tiny, file("bos"));
  const Finished tokens = run(0, {"tokenize", file("bos"), "--text", file("text")});
  EXPECT_TRUE(tokens.program.out.starts_with(fmt::format("{}\n", tiny_end_id))) << tokens.program.out.substr(0, 20);
  const json result = perplexity(2, "bos", {"--protocol", "llama.cpp", "--windows", "3"});
  EXPECT_EQ(result["bos"], tiny_end_id);
  EXPECT_EQ(result["tokens_in_text"], tokens.results["tokens"]);
}

TEST_F(Program, InspectsModelsAndArchives) {
  const json hf = run(2, {"inspect", file("hf")}).results;
  EXPECT_EQ(hf["kind"], "model");
  EXPECT_EQ(hf["config"]["hidden_size"], 70);
  EXPECT_EQ(hf["tensors"].size(), 3 + 2 * 9u);  // embedding, last norm, head; nine a layer
  EXPECT_EQ(run(0, {"inspect", file("tiny.gguf")}).results["parameters"], hf["parameters"]);

  const Finished archive = run(0, {"inspect", shared_archive()});
  EXPECT_EQ(archive.results["kind"], "archive");
  EXPECT_EQ(archive.results["matrices"].size(), 2 * 7u + 1);  // the head
  EXPECT_EQ(archive.results["tile"], 32);
  EXPECT_EQ(archive.results["rank_rule"], "topk");
  EXPECT_EQ(archive.results["factor_type"], "f32");
  EXPECT_EQ(archive.results["model_fingerprint"], hf["fingerprint"]);
  EXPECT_NE(archive.program.out.find("model.layers.1.mlp.down_proj"), std::string::npos);
}

TEST_F(Program, StoresFactorsAsIntegers) {
  const Finished made = compress(2, "hf", "int8.h5", {"--topk", "0.5", "--tile", "48", "--factor-type", "int8"});
  EXPECT_EQ(made.results["factor_type"], "int8");
  EXPECT_EQ(made.results["bytes_dense"].get<double>(), 2.0 * 6 * 70 * 151) << "counted in 16 bits a number";
  const Finished archive = run(0, {"inspect", file("int8.h5")});
  EXPECT_EQ(archive.results["factor_type"], "int8");

  compress(2, "hf", "f32.h5", {"--topk", "0.5", "--tile", "48", "--factor-type", "f32"});
  const json integers = perplexity(2, "hf", {"--archive", file("int8.h5")});
  const json floats = perplexity(2, "hf", {"--archive", file("f32.h5")});
  EXPECT_NE(integers["perplexity"], floats["perplexity"]);
  // Weights are off by about 1 %, losses by far less.
  EXPECT_LT(relative(integers["perplexity"], floats["perplexity"]), 0.02);
}

class ArchiveOfAnyRankCount : public Program, public ::testing::WithParamInterface<Arguments> {};

TEST_P(ArchiveOfAnyRankCount, IsTheSameInEveryByte) {
  std::string first;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    const Finished made = compress(ranks, "hf", "same.h5", GetParam());
    const std::string bytes = read_file(file("same.h5"));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << ranks << " ranks write other bytes than one";
    EXPECT_EQ(made.results["matrices"].size(), 2 * 3u);
    EXPECT_FALSE(std::filesystem::exists(file("same.h5.hack-tmp")));
    double factors = 0;
    for (const json& matrix : made.results["matrices"]) factors += matrix["bytes_factors"].get<double>();
    EXPECT_EQ(made.results["bytes_factors"].get<double>(), factors);
    EXPECT_GT(made.results["relative_error"].get<double>(), 0);
    EXPECT_LT(made.results["relative_error"].get<double>(), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, ArchiveOfAnyRankCount,
                         ::testing::Values(Arguments{"--topk", "0.5", "--tile", "32", "--factor-type", "f32"},
                                           Arguments{"--keep", "0.4", "--tile", "48"},
                                           Arguments{"--keep", "0.8", "--tile", "32x1000", "--storage",
                                                     "interpolative"},
                                           Arguments{"--topk", "0.5", "--storage", "interpolative"},
                                           Arguments{"--tolerance", "0.3", "--factor-type", "f16"},
                                           Arguments{"--keep", "0.25", "--tile", "48", "--factor-type", "int8"},
                                           Arguments{"--mode", "full", "--topk", "0.3"}));

TEST_F(Program, ArchivesOpenInOtherPrograms) {
  const std::string archive = shared_archive();
  const ProgramResult listed = run_shell(fmt::format("command -v h5ls >/dev/null || exit 77; h5ls -r '{}'", archive));
  if (listed.status == 77) GTEST_SKIP() << "h5ls is not installed";
  EXPECT_EQ(listed.status, 0) << listed.err;
  EXPECT_NE(listed.out.find("/matrices/model.layers.0.mlp.gate_proj.weight/spectrum Dataset {5, 3, 32}"),
            std::string::npos)
      << listed.out;

  const char* python = "/usr/bin/python3";
  const bool has_h5py = run_shell(fmt::format("{} -c 'import h5py, numpy'", python)).status == 0;
  if (!has_h5py) GTEST_SKIP() << python << " has no h5py";
  // The tile rebuilt from the file is the tile of the weights up to what `discarded` says; spectra are whole.
  write_file(file("check.py"), R"(
import sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "r")
assert len(file["matrices"]) == 15
group = file["matrices/model.layers.0.mlp.gate_proj.weight"]
structures, codecs = (file.attrs[name].decode().split() for name in ("structures", "codecs"))
spectrum, data = group["spectrum"][()], group["bytes"]
weight = np.fromfile(sys.argv[2], np.float32).reshape(151, 70).astype(np.float64)
at = 0
for (row, col, h, w), structure, codec, k in zip(group["extent"][()], group["structure"][()], group["codec"][()], group["rank"][()]):
    tile = weight[row:row + h, col:col + w]
    i, j = row // 32, col // 32
    assert tile.shape == (h, w) and codecs[codec] == "f32"
    assert k == int(0.4 * min(h, w)), k
    assert np.allclose(spectrum[i, j, :min(h, w)], np.linalg.svd(tile, compute_uv=False), atol=1e-5)
    assert np.isclose(group["energy"][i, j], (tile ** 2).sum(), rtol=1e-5)
    dense = structures[structure] == "dense"
    count = h * w if dense else h * k + k * w + k
    numbers = data[at:at + 4 * count].view("<f4")
    at += 4 * count
    if dense:
        rebuilt = numbers.reshape(h, w)
    else:
        u, v, sigma = numbers[:h * k].reshape(h, k), numbers[h * k:h * k + k * w].reshape(k, w), numbers[-k:]
        rebuilt = u * sigma @ v
    assert np.isclose(((tile - rebuilt) ** 2).sum(), group["discarded"][i, j], rtol=1e-4, atol=1e-6)
assert at == data.size
)");
  const std::vector<float> weight = tiny_weight({}, "model.layers.0.mlp.gate_proj.weight");
  write_file(file("weight"), std::string(reinterpret_cast<const char*>(weight.data()), weight.size() * sizeof(float)));
  const ProgramResult read =
      run_shell(fmt::format("{} '{}' '{}' '{}'", python, file("check.py"), archive, file("weight")));
  EXPECT_EQ(read.status, 0) << read.err;
}

TEST_F(Program, PerplexityIsThatOfTheWeightsWhereverTheyCome) {
  TinyModel sharded;
  sharded.shards = 3;
  write_hf(sharded, file("sharded"));
  const json one = perplexity(0, "hf");
  EXPECT_EQ(perplexity(0, "tiny.gguf")["nll_sum"], one["nll_sum"]);
  EXPECT_EQ(perplexity(0, "sharded")["nll_sum"], one["nll_sum"]);
  // All singular values kept: factors in f32 carry each weight to about 1e-6 of its tile's norm.
  for (const std::string storage : {"factors", "interpolative"}) {
    compress(2, "hf", "whole.h5", {"--topk", "1.0", "--factor-type", "f32", "--tile", "64", "--storage", storage});
    const json whole = perplexity(0, "hf", {"--archive", file("whole.h5")});
    EXPECT_LT(relative(whole["perplexity"], one["perplexity"]), 1e-6) << storage;
  }
}

TEST_F(Program, PerplexityDoesNotDependOnTheNumberOfRanks) {
  for (const Arguments& model : {Arguments{}, Arguments{"--archive", shared_archive()}}) {
    const json one = perplexity(1, "hf", model);
    for (int ranks = 2; ranks <= 4; ++ranks) {
      SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, model.empty() ? "dense" : "factored"));
      // Partial sums come together in another order: a few eps of f32, far below 1e-5.
      const json tensor = perplexity(ranks, "hf", model);
      EXPECT_EQ(tensor["tensor_parallel"], ranks);
      EXPECT_LT(relative(tensor["perplexity"], one["perplexity"]), 1e-5);
      const json data = perplexity(ranks, "hf", model + Arguments{"--tensor-parallel", "1"});
      EXPECT_EQ(data["data_parallel"], ranks);
      EXPECT_EQ(data["nll_sum"], one["nll_sum"]);
    }
    const json grid = perplexity(4, "hf", model + Arguments{"--tensor-parallel", "2"});
    EXPECT_EQ(grid["data_parallel"], 2);
    EXPECT_LT(relative(grid["perplexity"], one["perplexity"]), 1e-5);
  }
}

TEST_F(Program, EveryProtocolWritesTheLossOfEachToken) {
  for (const std::string protocol : {"2048", "hack", "llama.cpp", "stride", "lm-eval"}) {
    SCOPED_TRACE(protocol);
    Arguments more = {"--protocol", protocol, "--per-token", file("losses.csv")};
    if (protocol == "stride") more = more + Arguments{"--stride", "40"};
    const json results = perplexity(2, "hf", more);
    std::istringstream rows(read_file(file("losses.csv")));
    std::string row;
    std::getline(rows, row);
    EXPECT_EQ(row, "window,position,token,nll");
    long count = 0;
    double sum = 0;
    std::set<long> windows;
    for (; std::getline(rows, row); ++count) {
      sum += std::stod(row.substr(row.rfind(',') + 1));
      windows.insert(std::stol(row));
    }
    EXPECT_EQ(results["protocol"], protocol);
    EXPECT_EQ(results["context"], 96);
    EXPECT_EQ(results["windows"], windows.size());
    EXPECT_EQ(results["tokens_scored"], count);
    EXPECT_NEAR(results["nll_sum"].get<double>(), sum, 1e-9 * sum);
    // Random weights know nothing: about as good as guessing among the 263 tokens.
    EXPECT_NEAR(std::log(results["perplexity"].get<double>()), std::log(263), 1.5);
  }
}

TEST_F(Program, SaysWhenItsAnswerIsLost) {
  for (const std::string& arguments : {fmt::format("inspect '{}'", file("hf")), std::string("--help-markdown")}) {
    const ProgramResult full = run_shell("\"$HACK\" " + arguments + " > /dev/full");
    EXPECT_NE(full.status, 0) << arguments;
    EXPECT_NE(full.err.find("No space left on device"), std::string::npos) << full.err;
    const ProgramResult closed = run_shell("set -o pipefail; \"$HACK\" " + arguments + " | true");
    EXPECT_NE(closed.status, 0) << arguments;
  }
}

TEST_F(Program, RunsInNarrowTypes) {
  const json f32 = perplexity(2, "hf");
  for (const auto& [type, tolerance] : {std::pair{"bf16", 2e-2}, std::pair{"f16", 2e-3}}) {  // some eps of the type
    const json narrow = perplexity(2, "hf", {"--dtype", type});
    EXPECT_EQ(narrow["dtype"], type);
    EXPECT_NE(narrow["nll_sum"], f32["nll_sum"]);
    EXPECT_LT(relative(narrow["perplexity"], f32["perplexity"]), tolerance) << type;
    EXPECT_LT(narrow["weight_bytes_on_rank_0"].get<double>(), 0.6 * f32["weight_bytes_on_rank_0"].get<double>());
  }
}

TEST_F(Program, GeneratesTheSameTextOnAnyNumberOfRanks) {
  const std::vector<Arguments> ways = {{}, {"--repetition-penalty", "1.3"}, {"--archive", shared_archive()}};
  std::set<json> different;
  for (const Arguments& way : ways) {
    const Finished one = generate(1, way);
    EXPECT_EQ(one.results["ids"].size(), 24u);
    // Random tokens are bytes that make no UTF-8, which JSON cannot hold: decoded again, they are what stdout has.
    write_file(file("ids"), fmt::format("{}", fmt::join(one.results["ids"].get<std::vector<int>>(), "\n")));
    EXPECT_EQ(one.program.out, run_hack(0, {"tokenize", file("hf"), "--decode", "--text", file("ids")}).out + "\n");
    for (int ranks = 2; ranks <= 4; ++ranks)
      EXPECT_EQ(generate(ranks, way).results["ids"], one.results["ids"]) << ranks;
    different.insert(one.results["ids"]);
  }
  EXPECT_EQ(different.size(), ways.size());
}

TEST_F(Program, DrawsTheSameTextFromTheSameSeed) {
  const Arguments draw = {"--temperature", "1.0", "--top-p", "0.9", "--seed"};
  const json five = generate(1, draw + Arguments{"5"}).results["ids"];
  EXPECT_EQ(generate(3, draw + Arguments{"5"}).results["ids"], five);
  EXPECT_NE(generate(1, draw + Arguments{"6"}).results["ids"], five);
}

TEST_F(Program, EndsWhereAStopTextComesUp) {
  const std::string all = generate(0, {}).program.out;
  const auto is_letter = [](unsigned char c) { return c < 128 && std::isalpha(c); };
  const auto letter = std::find_if(all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end(), is_letter);
  ASSERT_NE(letter, all.end());
  const std::string stop(1, *letter), expected = all.substr(0, all.find(stop)) + "\n";
  write_file(file("prompt"), "The lamp in the");
  for (const int ranks : {1, 3}) {
    const ProgramResult ended = run_hack(ranks, {"generate", file("hf"), "--prompt-file", file("prompt"),
                                                 "--max-tokens", "24", "--stop", "never", "--stop", stop});
    EXPECT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(ended.out, expected) << ranks;
  }
}

TEST_F(Program, EndsInFrontOfATokenThatEndsATurnAndWarnsOfLongTexts) {
  const json all = generate(0, {}).results["ids"];
  const std::string config = read_file(file("hf/config.json"));
  json changed = json::parse(config);
  changed["eos_token_id"] = all[2];
  write_file(file("hf/config.json"), changed.dump());
  const json stopped = generate(0, {"--stop-at-eos"}).results["ids"];
  EXPECT_EQ(generate(2, {"--stop-at-eos"}).results["ids"], stopped);
  write_file(file("hf/config.json"), config);
  EXPECT_LE(stopped.size(), 2u);
  for (std::size_t i = 0; i < stopped.size(); ++i) EXPECT_EQ(stopped[i], all[i]);
  const ProgramResult longer = run_hack(0, {"generate", file("hf"), "--prompt", "A", "--max-tokens", "300"});
  EXPECT_EQ(longer.status, 0);
  EXPECT_NE(longer.err.find("more than the 256 that the model was made for"), std::string::npos) << longer.err;
}

TEST_F(Program, InspectListsLayersInTheModelsOrder) {
  TinyModel deep;
  deep.layers = 11;
  write_hf(deep, file("deep"));
  compress(1, "deep", "deep.h5", {"--topk", "0.1"});
  const std::string listed = run_hack(0, {"inspect", file("deep.h5")}).out;
  EXPECT_LT(listed.find("layers.1.mlp"), listed.find("layers.2.mlp"));
  EXPECT_LT(listed.find("layers.2.mlp"), listed.find("layers.10.mlp"));
}

TEST_F(Program, ReportsWhatTheContractSays) {
  const Finished evaluated =
      run(3, {"perplexity", file("hf"), "--text", file("text"), "--context", "64", "--threads", "1"});
  for (const char* key : {"command", "version", "config", "environment", "results"})
    EXPECT_TRUE(evaluated.report.contains(key)) << key;
  EXPECT_EQ(evaluated.report["command"], "perplexity");
  EXPECT_EQ(evaluated.report["environment"]["ranks"], 3);
  const json& config = evaluated.report["config"];
  EXPECT_EQ(config.at("context"), 64);
  EXPECT_EQ(config.at("protocol"), "2048") << "defaults stand there too";
  EXPECT_EQ(config.at("quiet"), false);
  for (const char* key : {"perplexity", "stderr", "nll_sum", "tokens_scored", "windows", "protocol", "context",
                          "tokens_in_text", "bos"}) {
    EXPECT_TRUE(evaluated.results.contains(key)) << key;
  }
  EXPECT_EQ(evaluated.results["peak_memory_bytes"].size(), 3u);
  const double mean = evaluated.results["nll_sum"].get<double>() / evaluated.results["tokens_scored"].get<double>();
  EXPECT_NEAR(evaluated.results["perplexity"].get<double>(), std::exp(mean), 1e-9 * std::exp(mean));

  const json compressed = compress(1, "hf", "report.h5", {"--topk", "0.2"}).results;
  for (const char* key : {"keep", "bytes_factors", "bytes_dense", "relative_error"}) {
    EXPECT_TRUE(compressed.contains(key)) << key;
    for (const json& matrix : compressed["matrices"]) EXPECT_TRUE(matrix.contains(key)) << key;
  }
  EXPECT_DOUBLE_EQ(compressed["keep"].get<double>(),
                   compressed["bytes_factors"].get<double>() / compressed["bytes_dense"].get<double>());
  EXPECT_EQ(compressed["bytes_dense"], 2 * 3 * 70 * 151 * 2);  // layers · matrices · numbers · bytes of bf16
}

TEST_F(Program, AnswersOnStdoutAndKeepsQuietWhenAsked) {
  const Arguments evaluate = {"perplexity", file("hf"), "--text", file("text"), "--context", "64"};
  const ProgramResult loud = run_hack(2, evaluate);
  EXPECT_TRUE(loud.out.starts_with("perplexity ")) << loud.out;
  EXPECT_EQ(count_lines(loud.out), 1);
  EXPECT_NE(loud.err.find("windows"), std::string::npos) << loud.err;
  const ProgramResult quiet = run_hack(2, evaluate + Arguments{"--quiet"});
  EXPECT_EQ(quiet.out, loud.out);
  EXPECT_EQ(quiet.err, "");
  const ProgramResult archived = run_hack(
      2, {"compress", file("hf"), "--output", file("quiet.h5"), "--topk", "1", "--method", "plain", "--quiet"});
  EXPECT_EQ(archived.status, 0);
  EXPECT_EQ(archived.err, "");
}

TEST_F(Program, SaysWhatIsMissingForCuda) {
  if (kernels::is_available(Device::cuda)) GTEST_SKIP() << "this build has CUDA, and there is a GPU";
  for (int ranks : {1, 3}) {
    const ProgramResult refused = run_hack(ranks, {"generate", file("hf"), "--prompt", "a", "--device", "cuda"}, 20);
    EXPECT_NE(refused.status, 0);
    EXPECT_NE(refused.err.find("--device cuda: "), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find(kernels::why_unavailable(Device::cuda)), std::string::npos) << refused.err;
  }
}

TEST_F(Program, MoreRanksThanHeadsOrTiles) {
  TinyModel tiny;
  tiny.heads = tiny.kv_heads = 1;
  tiny.hidden = 10;
  tiny.intermediate = 5;
  tiny.layers = 1;
  write_hf(tiny, file("one-head"));
  compress(6, "one-head", "one-head.h5", {"--topk", "1", "--factor-type", "f32"});
  const json one = perplexity(1, "one-head");
  EXPECT_LT(relative(perplexity(6, "one-head")["perplexity"], one["perplexity"]), 1e-5);
  const json factored = perplexity(6, "one-head", {"--archive", file("one-head.h5")});
  EXPECT_LT(relative(factored["perplexity"], one["perplexity"]), 1e-5);
}

TEST_F(Program, CompressedRunsAndMoreRanksNeedLessMemory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer keeps freed memory";
#endif
  TinyModel wide;
  wide.hidden = 512;
  wide.intermediate = 6000;
  wide.layers = 2;
  write_hf(wide, file("wide"));
  compress(2, "wide", "wide.h5", {"--keep", "0.3", "--factor-type", "f32"});
  const auto peak_mib = [](int ranks, const Arguments& more) {
    const auto results = perplexity(ranks, "wide", Arguments{"--windows", "2"} + more);
    const auto peaks = results["peak_memory_bytes"].get<std::vector<double>>();
    return *std::max_element(peaks.begin(), peaks.end()) / (1 << 20);
  };
  const Arguments archive = {"--archive", file("wide.h5")};
  // 2 · 3 matrices of 512 × 6000 in f32 are 70 MiB, at 0.3 of it 21 MiB. What a run needs besides may vary by a few.
  const double dense = peak_mib(1, {});
  const double compressed = peak_mib(1, archive);
  EXPECT_LT(compressed, dense - 35);
  EXPECT_LT(peak_mib(2, {}), dense - 25);
  EXPECT_LT(peak_mib(2, archive), compressed - 5);
}

}  // namespace
}  // namespace hack::testing
