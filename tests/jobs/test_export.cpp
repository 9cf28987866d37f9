// `hack export` of compressed models: what leaves is what the archive stands for, whoever reads it.

#include <cmath>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/checkpoint/checkpoint.hpp"
#include "tests/support/program.hpp"
#include "tests/support/stored_tile.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Export : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    std::string text;
    for (int i = 0; i < 16; ++i) text += fmt::format("The {}th lamp burned {} hours, then another.\n", i, i * 37 % 24);
    write_file(file("text"), text);
    TinyModel even;  // blocks of 32 fit all matrices but o
    even.hidden = 64;
    even.intermediate = 96;
    even.heads = 6;
    even.kv_heads = 2;
    even.head_dim = 16;
    write_hf(even, file("even"));
    write_gguf(even, file("even.gguf"), model::GgmlType::q8_0);
    write_hf({}, file("odd"));
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

  static void compress(const std::string& model, const std::string& archive, const Arguments& how) {
    run(0, Arguments{"compress", file(model), "--output", file(archive), "--method", "plain"} + how);
  }

  static json send(int ranks, const std::string& model, const std::string& archive, const std::string& format,
                   const std::string& output, const Arguments& more = {}) {
    return run(ranks, Arguments{"export", file(model), "--archive", file(archive), "--format", format, "--output",
                                file(output)} +
                          more);
  }

  static double perplexity(const std::string& model, const Arguments& more = {}) {
    const Arguments all{"perplexity", file(model), "--text", file("text"), "--context", "96", "--products", "exact"};
    return run(0, all + more)["perplexity"].get<double>();
  }

  static TemporaryDirectory* folder_;
};

TemporaryDirectory* Export::folder_ = nullptr;

/// A matrix of an archive, in double.
std::vector<double> matrix_values(const svd::FactorArchive& archive, const std::string& name) {
  const svd::TileGrid& grid = archive.matrix(name).grid;
  std::vector<double> all(static_cast<std::size_t>(grid.rows() * grid.cols()));
  for (index_t t = 0; t < grid.size(); ++t) {
    const svd::Tile at = grid.tile(t);
    const std::vector<double> tile = values_of(archive.read_tiles(name, svd::Range{t, t + 1}).front(), at);
    for (index_t i = 0; i < at.height; ++i) {
      for (index_t j = 0; j < at.width; ++j) all[(at.row + i) * grid.cols() + at.col + j] = tile[i * at.width + j];
    }
  }
  return all;
}

/// What a model and an archive made of it stand for, against what was exported; a share of each number may be lost.
void expect_values(const std::string& model, const std::string& archive, const std::string& exported, double share) {
  const svd::FactorArchive factors(archive);
  const auto from = model::Checkpoint::open(model), to = model::Checkpoint::open(exported);
  ASSERT_EQ(from->names(), to->names());
  for (const std::string& name : from->names()) {
    const std::vector<float> found = read_all(*to, name), stored = read_all(*from, name);
    const std::vector<double> expected =
        factors.contains(name) ? matrix_values(factors, name) : std::vector<double>(stored.begin(), stored.end());
    ASSERT_EQ(found.size(), expected.size()) << name;
    for (std::size_t i = 0; i < found.size(); ++i) {
      // Sums of the other order differ by a few roundings of double, where they cancel too.
      ASSERT_NEAR(found[i], expected[i], share * std::abs(expected[i]) + 1e-12) << name << " " << i;
    }
  }
}

TEST_F(Export, OfBlocksKeepsTheirCodes) {
  for (const char* codec : {"q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"}) {
    for (const char* model : {"even", "even.gguf"}) {
      SCOPED_TRACE(fmt::format("{} {}", model, codec));
      compress(model, "a.h5", {"--codec", codec, "--matrices", "all", "--tile", "32"});
      const json sent = send(0, model, "a.h5", "gguf", "a.gguf");
      EXPECT_TRUE(sent["remarks"].empty()) << sent["remarks"];
      const auto exported = model::Checkpoint::open(file("a.gguf"));
      EXPECT_EQ(exported->codec("model.layers.1.self_attn.k_proj.weight"), parse_codec(codec));
      expect_values(file(model), file("a.h5"), file("a.gguf"), 0);
      if (model != std::string("even")) continue;
      // The same codes meet the same tokens; sums of tiles and of whole rows have another order.
      EXPECT_NEAR(perplexity("a.gguf") / perplexity(model, {"--archive", file("a.h5")}), 1, 1e-5);
    }
  }
}

TEST_F(Export, MultipliesOutWhatHasNoOtherForm) {
  const std::pair<const char*, Arguments> cases[] = {
      {"odd", {"--topk", "0.5", "--matrices", "all"}},
      {"odd", {"--topk", "0.5", "--storage", "factors", "--factor-type", "int8"}},
      {"odd", {"--keep", "0.8", "--matrices", "down,q,k", "--factor-type", "f16"}},
      {"odd", {"--codec", "q4_0"}},  // rows of 70 and of 151 numbers
      {"even", {"--codec", "q3_64", "--matrices", "all"}},
      {"even.gguf", {"--topk", "0.4", "--matrices", "all"}}};
  for (const auto& [model, how] : cases) {
    SCOPED_TRACE(fmt::format("{} {} {}", model, how[0], how[1]));
    compress(model, "m.h5", how + Arguments{"--tile", "32"});
    fs::remove_all(file("m"));
    const json sent = send(0, model, "m.h5", "gguf", "m.gguf", {"--type", "f32"});
    EXPECT_FALSE(sent["remarks"].empty());
    send(0, model, "m.h5", "hf", "m", {"--type", "f32"});
    constexpr double half_a_digit = 0x1p-24;
    expect_values(file(model), file("m.h5"), file("m.gguf"), half_a_digit);
    expect_values(file(model), file("m.h5"), file("m"), half_a_digit);
    const double expected = perplexity(model, {"--archive", file("m.h5"), "--dtype", "f32"});
    EXPECT_NEAR(perplexity("m.gguf", {"--dtype", "f32"}) / expected, 1, 1e-5);
    EXPECT_NEAR(perplexity("m", {"--dtype", "f32"}) / expected, 1, 1e-5);
    send(0, model, "m.h5", "gguf", "m.gguf");  // over the file of before
    expect_values(file(model), file("m.h5"), file("m.gguf"), 0x1p-8);
  }
}

TEST_F(Export, SaysWhyBlocksWereMultipliedOut) {
  compress("even", "narrow.h5", {"--codec", "q4_0", "--tile", "48"});
  const json sent = send(0, "even", "narrow.h5", "gguf", "narrow.gguf");
  ASSERT_EQ(sent["remarks"].size(), 1u);
  EXPECT_NE(sent["remarks"][0].get<std::string>().find("tiles 48 numbers wide"), std::string::npos) << sent;
  expect_values(file("even"), file("narrow.h5"), file("narrow.gguf"), 0x1p-8);
}

TEST_F(Export, TakesRanksOfAnArchiveThatKeepsVectors) {
  compress("odd", "kept.h5", {"--max-rank", "32", "--tile", "32"});
  compress("odd", "half.h5", {"--topk", "0.5", "--tile", "32"});
  send(0, "odd", "kept.h5", "gguf", "chosen.gguf", {"--topk", "0.5"});
  send(0, "odd", "half.h5", "gguf", "made.gguf");
  EXPECT_EQ(read_file(file("chosen.gguf")), read_file(file("made.gguf")));
}

TEST_F(Export, IsTheSameOnSeveralRanks) {
  compress("even", "r.h5", {"--topk", "0.5", "--matrices", "all"});
  send(0, "even", "r.h5", "gguf", "one.gguf");
  send(0, "even", "r.h5", "hf", "one");
  for (const int ranks : {2, 3}) {
    fs::remove_all(file("many"));
    send(ranks, "even", "r.h5", "gguf", "many.gguf");
    send(ranks, "even", "r.h5", "hf", "many");
    EXPECT_EQ(read_file(file("many.gguf")), read_file(file("one.gguf")));
    for (const char* name : {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}) {
      EXPECT_EQ(read_file(fs::path(file("many")) / name), read_file(fs::path(file("one")) / name)) << name;
    }
  }
}

TEST_F(Export, EndsOnAllRanksAndLeavesNothingWhereItFails) {
  compress("even", "f.h5", {"--codec", "q4_0"});
  const std::string archive = read_file(file("f.h5"));
  fs::create_directory(file("results"));
  const Arguments start = {"export", file("even"), "--archive", file("f.h5"), "--format"};
  const std::pair<Arguments, const char*> cases[] = {{{"gguf", "--output", file("f.h5")}, "would write over"},
                                                     {{"hf", "--output", file("even")}, "holds files"},
                                                     {{"hf", "--output", file("results/no/a")}, "results/no/a"},
                                                     {{"gguf", "--output", file("results/no/a.gguf")}, "results/no"},
                                                     {{"gguf", "--output", file("results/a.bin")}, ".gguf"}};
  for (const auto& [more, says] : cases) {
    for (const int ranks : {0, 3}) {
      const ProgramResult result = run_hack(ranks, start + more, 20);
      EXPECT_EQ(result.status, 1) << result.err;
      EXPECT_NE(result.err.find(says), std::string::npos) << says << " is not in:\n" << result.err;
      EXPECT_EQ(result.out, "");
    }
  }
  EXPECT_EQ(read_file(file("f.h5")), archive);
  EXPECT_TRUE(fs::is_empty(file("results")));
}

// Rank 0 meets it in the last tensor, when the others have long been waiting.
TEST_F(Export, EndsOnAllRanksWhereATensorIsDamaged) {
  write_hf({}, file("nan"));
  const fs::path weights = fs::path(file("nan")) / "model.safetensors";
  std::string bytes = read_file(weights);
  const float nan = std::nanf("");
  bytes.replace(bytes.size() - sizeof(nan), sizeof(nan), reinterpret_cast<const char*>(&nan), sizeof(nan));
  write_file(weights, bytes);
  fs::create_directory(file("none"));
  for (const Arguments& more :
       {Arguments{"hf", "--output", file("none/a")}, {"gguf", "--output", file("none/a.gguf")}}) {
    for (const int ranks : {0, 3}) {
      const ProgramResult result = run_hack(ranks, Arguments{"export", file("nan"), "--format"} + more, 20);
      EXPECT_EQ(result.status, 1) << result.err;
      EXPECT_NE(result.err.find("lm_head.weight"), std::string::npos) << result.err;
      EXPECT_TRUE(fs::is_empty(file("none")));
    }
  }
}

}  // namespace
}  // namespace hack::testing
