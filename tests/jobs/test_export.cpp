// `hack export` of compressed models: what leaves is what the archive stands for, whoever reads it.

#include <cmath>
#include <cstring>
#include <map>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/safetensors_file.hpp"
#include "model/export/factored_tensors.hpp"
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

/// The tensors of a factored matrix, read off their bytes in the order of batches.
class FlatReader {
 public:
  explicit FlatReader(const model::FactoredTensors& flat) {
    const std::vector<std::vector<std::byte>> bytes = flat.read();
    for (std::size_t t = 0; t < bytes.size(); ++t) {
      const model::FactoredTensors::Tensor& tensor = flat.tensors()[t];
      const DType type = tensor.type == "BF16" ? DType::bf16 : tensor.type == "F16" ? DType::f16 : DType::f32;
      std::vector<float>& numbers = all_[std::string(tensor.name)];
      numbers.resize(bytes[t].size() / static_cast<std::size_t>(tensor.number_bytes));
      for (std::size_t n = 0; n < numbers.size(); ++n) {
        const std::byte* at = bytes[t].data() + static_cast<index_t>(n) * tensor.number_bytes;
        std::int32_t integer = 0;
        if (tensor.type == "I32") std::memcpy(&integer, at, 4);
        if (tensor.type == "I8") integer = *reinterpret_cast<const std::int8_t*>(at);
        if (tensor.type == "U8") integer = *reinterpret_cast<const std::uint8_t*>(at);
        numbers[n] = static_cast<float>(integer);
        if (tensor.type.ends_with("F16") || tensor.type == "F32") convert(at, type, &numbers[n], DType::f32, 1);
      }
    }
  }

  std::vector<float> take(const std::string& name, index_t count) {
    const auto begin = all_[name].begin() + taken_[name];
    taken_[name] += count;
    EXPECT_LE(taken_[name], std::ssize(all_[name])) << name;
    return {begin, begin + count};
  }
  index_t size(const std::string& name) { return std::ssize(all_[name]); }
  index_t left(const std::string& name) { return size(name) - taken_[name]; }

 private:
  std::map<std::string, std::vector<float>> all_;
  std::map<std::string, index_t> taken_;
};

/// Arrays (rows, cols) of all terms of a batch, whose row in the table is `like`.
std::vector<float> take_arrays(FlatReader& flat, const std::vector<float>& like, index_t terms, index_t rows,
                               index_t cols) {
  const auto block = static_cast<index_t>(like[6]), scale_count = static_cast<index_t>(like[7]);
  if (scale_count == 0) return flat.take("numbers", terms * rows * cols);
  std::vector<float> out = flat.take("levels", terms * rows * cols);
  const index_t blocks = block == 0 ? 1 : (cols + block - 1) / block;
  const std::vector<float> scales = flat.take("scales", terms * rows * blocks * scale_count);
  for (index_t n = 0; n < std::ssize(out); ++n) {
    const index_t b = n / cols * blocks + (block == 0 ? 0 : n % cols / block);
    out[n] = scales[b * scale_count] * out[n] + (scale_count == 2 ? scales[b * 2 + 1] : 0);
  }
  return out;
}

/// Adds what the n-th term of a batch stands for to a matrix with `cols` columns.
void add_term(const std::vector<float>& term, index_t n, const std::vector<std::vector<float>>& arrays,
              std::vector<double>& sum, index_t cols) {
  const auto h = static_cast<index_t>(term[2]), w = static_cast<index_t>(term[3]), k = static_cast<index_t>(term[5]);
  index_t kept = 0, other = 0;
  for (index_t i = 0; i < h; ++i) {
    const bool is_marked = term[4] == 2 && (k == h || arrays[2][n * h + i] != 0);
    for (index_t j = 0; j < w; ++j) {
      double& x = sum[(static_cast<index_t>(term[0]) + i) * cols + static_cast<index_t>(term[1]) + j];
      if (term[4] == 1) x += arrays[0][(n * h + i) * w + j];
      if (is_marked) x += arrays[1][(n * k + kept) * w + j];
      for (index_t l = 0; l < k && term[4] != 1 && !is_marked; ++l) {
        const double left = term[4] == 0 ? double{arrays[0][(n * h + i) * k + l]} * arrays[2][n * k + l]
                                         : arrays[0][(n * (h - k) + other) * k + l];
        x += left * arrays[1][(n * k + l) * w + j];
      }
    }
    ++(is_marked ? kept : other);
  }
}

/// What the tensors stand for: the slow twin of modeling_hack.py.
std::vector<double> values_of(FlatReader& flat, index_t rows, index_t cols) {
  std::vector<double> sum(static_cast<std::size_t>(rows * cols));
  std::vector<std::vector<float>> terms;
  while (flat.left("terms") > 0) terms.push_back(flat.take("terms", 8));
  for (std::size_t first = 0, last = 0; first < terms.size(); first = last) {
    while (last < terms.size() && std::equal(terms[last].begin() + 2, terms[last].end(), terms[first].begin() + 2)) {
      ++last;
    }
    const std::vector<float>& like = terms[first];
    const auto count = static_cast<index_t>(last - first), h = static_cast<index_t>(like[2]),
               w = static_cast<index_t>(like[3]), k = static_cast<index_t>(like[5]);
    std::vector<std::vector<float>> arrays;
    arrays.push_back(take_arrays(flat, like, count, like[4] == 2 ? h - k : h, like[4] == 1 ? w : k));
    if (like[4] != 1) arrays.push_back(take_arrays(flat, like, count, k, w));
    if (like[4] == 0) arrays.push_back(flat.take("sigma", count * k));
    if (like[4] == 2 && k < h) {
      const index_t size = (h + 7) / 8;
      const std::vector<float> bytes = flat.take("marks", count * size);
      arrays.emplace_back();
      for (index_t r = 0; r < count * h; ++r) {
        const int byte = static_cast<int>(bytes[r / h * size + r % h / 8]);
        arrays[2].push_back(static_cast<float>(byte >> r % h % 8 & 1));
      }
    }
    for (std::size_t n = first; n < last; ++n) add_term(terms[n], static_cast<index_t>(n - first), arrays, sum, cols);
  }
  for (const char* name : {"terms", "numbers", "levels", "scales", "sigma", "marks"}) EXPECT_EQ(flat.left(name), 0);
  return sum;
}

/// Numbers of all factors and values of a matrix, singular values among them.
index_t stored_numbers(const svd::MatrixTable& matrix) {
  index_t count = 0;
  for (const svd::TermEntry& term : matrix.terms) {
    const svd::Tile at = matrix.extent_of(term);
    for (const svd::TermArray& array : svd::TermArrays(term.structure, term.codec, at.height, at.width, term.rank)) {
      count += array.codec ? array.rows * array.cols : 0;
    }
  }
  return count;
}

TEST_F(Export, FactoredKeepsEveryNumber) {
  const Arguments cases[] = {{"--keep", "0.8"},
                             {"--topk", "0.4", "--storage", "factors"},
                             {"--keep", "0.4", "--factor-type", "int8"},
                             {"--topk", "0.3", "--storage", "factors", "--factor-type", "int8"},
                             {"--mode", "full", "--topk", "0.3", "--factor-type", "f16"},
                             {"--codec", "q4_1"},
                             {"--codec", "iq4_nl"},
                             {"--codec", "q3_64"}};
  for (const Arguments& how : cases) {
    SCOPED_TRACE(fmt::format("{} {} {}", how[0], how[1], how.back()));
    compress("odd", "t.h5", how + Arguments{"--matrices", "all", "--tile", "32"});
    const svd::FactorArchive archive(file("t.h5"));
    for (const std::string& name : archive.matrices()) {
      const svd::TileGrid& grid = archive.matrix(name).grid;
      const model::FactoredTensors flat_tensors(archive, name);
      FlatReader flat(flat_tensors);
      EXPECT_EQ(flat.size("numbers") + flat.size("levels") + flat.size("sigma"), stored_numbers(archive.matrix(name)));
      const std::vector<double> found = values_of(flat, grid.rows(), grid.cols()),
                                expected = matrix_values(archive, name);
      // Products of f32 numbers are exact in double; sums have the same order.
      for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-12) << name << " " << i;
    }
  }
}

TEST_F(Export, FactoredDirectoryNamesWhatItHolds) {
  compress("odd", "d.h5", {"--keep", "0.8", "--tile", "32"});
  send(2, "odd", "d.h5", "hf-factored", "d");
  const json config = json::parse(read_file(file("d/config.json")));
  EXPECT_EQ(config["auto_map"]["AutoModelForCausalLM"], "modeling_hack.HackLlamaForCausalLM");
  EXPECT_NE(read_file(file("d/modeling_hack.py")).find("class HackLinear"), std::string::npos);
  EXPECT_EQ(read_file(file("d/tokenizer.json")), read_file(file("odd/tokenizer.json")));
  const model::SafetensorsFile weights(file("d/model.safetensors"));
  const svd::FactorArchive archive(file("d.h5"));
  EXPECT_EQ(config["hack_matrices"].size(), archive.matrices().size());
  for (const auto& [module, sizes] : config["hack_matrices"].items()) {
    EXPECT_TRUE(archive.contains(module + ".weight"));
    EXPECT_EQ(weights.find(module + ".weight"), nullptr);
    for (const auto& [name, size] : sizes.items()) {
      ASSERT_NE(weights.find(module + "." + name), nullptr) << module << " " << name;
      EXPECT_EQ(weights.find(module + "." + name)->shape.front(), size.get<index_t>());
    }
  }
  EXPECT_NE(weights.find("model.layers.0.self_attn.q_proj.weight"), nullptr);
  const ProgramResult none =
      run_hack(0, {"export", file("odd"), "--format", "hf-factored", "--output", file("none of it")});
  EXPECT_EQ(none.status, 1);
  EXPECT_NE(none.err.find("archive"), std::string::npos) << none.err;
  EXPECT_FALSE(fs::exists(file("none of it")));
}

}  // namespace
}  // namespace hack::testing
