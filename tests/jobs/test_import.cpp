// `hack import`: an archive stands for what another program's checkpoint stands for, number for number, or there is
// none and a message names why.

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <random>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/checkpoint/llama_tensors.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "tests/support/program.hpp"
#include "tests/support/stored_tile.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A tensor of a checkpoint in the making.
struct Tensor {
  std::string type;
  std::vector<index_t> shape;
  std::vector<std::byte> bytes;
};
using Tensors = std::map<std::string, Tensor>;

Tensor plain(DType type, std::vector<index_t> shape, const std::vector<float>& numbers) {
  Tensor out{type == DType::f32 ? "F32" : type == DType::f16 ? "F16" : "BF16", std::move(shape), {}};
  out.bytes.resize(numbers.size() * static_cast<std::size_t>(size_of(type)));
  convert(numbers.data(), DType::f32, out.bytes.data(), type, std::ssize(numbers));
  return out;
}

Tensor integers(std::vector<index_t> shape, const std::vector<std::uint32_t>& numbers) {
  const auto bytes = std::as_bytes(std::span(numbers));
  return {"I32", std::move(shape), {bytes.begin(), bytes.end()}};
}

/// Numbers that a type holds exactly.
std::vector<float> random_numbers(index_t count, float scale, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) x = to_float(to_f16(scale * (static_cast<float>(random() % 2001) / 1000 - 1)));
  return out;
}

std::vector<float> product(const std::vector<float>& u, const std::vector<float>& v, index_t m, index_t k, index_t n) {
  std::vector<float> out(static_cast<std::size_t>(m * n));
  for (index_t i = 0; i < m; ++i) {
    for (index_t j = 0; j < n; ++j) {
      double sum = 0;
      for (index_t l = 0; l < k; ++l) sum += double{u[i * k + l]} * v[l * n + j];
      out[i * n + j] = static_cast<float>(sum);
    }
  }
  return out;
}

/// How a matrix is quantised.
struct Gptq {
  index_t bits = 4, group = 32;
  bool is_symmetric = true;
  int offset = 1;      ///< of zero points in the file
  bool mixes = false;  ///< neighbours are of different groups
  bool has_groups = true;
};

class Import : public ::testing::Test {
 protected:
  Import() {
    tiny_.hidden = 64;
    tiny_.intermediate = 160;
    tiny_.heads = 6;
    tiny_.kv_heads = 2;
    tiny_.head_dim = 16;
    tiny_.dtype = DType::bf16;
    write_hf(tiny_, folder_ / "base");
    std::string text;
    for (int i = 0; i < 8; ++i) text += fmt::format("The {}th lamp burned {} hours, then another.\n", i, i * 37 % 24);
    write_file(folder_ / "text", text);
    config_ = json::parse(read_file(folder_ / "base/config.json"));
    for (const model::TensorSpec& spec : model::llama_tensors(tiny_config(tiny_))) {
      const std::vector<float> numbers = tiny_weight(tiny_, spec.name);
      base_.emplace(spec.name, plain(DType::bf16, shape_of(spec), numbers));
      if (!spec.is_vector && spec.name.starts_with("model.layers")) linears_.push_back(spec);
    }
  }

  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  void write(const std::string& name, const Tensors& tensors) const {
    fs::create_directories(folder_ / name);
    write_file(folder_ / name / "config.json", config_.dump());
    model::SafetensorsWriter writer(folder_ / name / "model.safetensors");
    for (const auto& [tensor, of] : tensors) {
      index_t count = 1;
      for (const index_t extent : of.shape) count *= extent;
      writer.add_tensor(tensor, of.shape, of.type, std::ssize(of.bytes) / count);
    }
    for (const auto& [tensor, of] : tensors) writer.write(of.bytes);
    writer.finish();
  }

  /// Two linear layers in place of each one that `names` gives two names.
  using Names = std::function<std::pair<std::string, std::string>(const std::string& stem)>;
  Tensors low_rank(DType type, const Names& names) {
    Tensors out = base_;
    std::uint64_t seed = 7;
    for (const model::TensorSpec& spec : linears_) {
      const auto [left, right] = names(spec.name.substr(0, spec.name.size() - 7));
      if (left.empty()) continue;
      const index_t k = 5 + static_cast<index_t>(seed % 4);
      const std::vector<float> u = random_numbers(spec.rows * k, 0.5f, seed++);
      const std::vector<float> v = random_numbers(k * spec.cols, 0.5f, seed++);
      out.erase(spec.name);
      out.emplace(left + ".weight", plain(type, {spec.rows, k}, u));
      out.emplace(right + ".weight", plain(type, {k, spec.cols}, v));
      expected_[spec.name] = product(u, v, spec.rows, k, spec.cols);
    }
    return out;
  }

  Tensors quantised(const Gptq& how) {
    Tensors out = base_;
    std::mt19937_64 random(11);
    for (const model::TensorSpec& spec : linears_) {
      const index_t m = spec.rows, n = spec.cols, groups = (n + how.group - 1) / how.group, in_word = 32 / how.bits;
      std::vector<std::uint32_t> codes(n / in_word * m), zeros(groups * m / in_word), index(n);
      std::vector<float> scales = random_numbers(groups * m, 0.1f, random()), values(m * n);
      for (float& scale : scales) scale = std::abs(scale);
      std::vector<int> zero(groups * m);
      const int half = 1 << (how.bits - 1);
      for (index_t g = 0; g < groups * m; ++g) {
        zero[g] = how.is_symmetric ? half : 1 + static_cast<int>(random() % (2 * half - 1));
        zeros[g / m * (m / in_word) + g % m / in_word] |= static_cast<std::uint32_t>(zero[g] - how.offset)
                                                          << g % m % in_word * how.bits;
      }
      for (index_t c = 0; c < n; ++c) {
        const index_t g = how.mixes ? c % groups : groups - 1 - c / how.group;  // groups in another order are fine
        const index_t group = how.has_groups ? g : c / how.group;
        index[c] = static_cast<std::uint32_t>(group);
        for (index_t r = 0; r < m; ++r) {
          const auto code = static_cast<std::uint32_t>(random() % (2 * half));
          codes[c / in_word * m + r] |= code << c % in_word * how.bits;
          values[r * n + c] = scales[group * m + r] * static_cast<float>(static_cast<int>(code) - zero[group * m + r]);
        }
      }
      const std::string module = spec.name.substr(0, spec.name.size() - 7);
      out.erase(spec.name);
      out.emplace(module + ".qweight", integers({n / in_word, m}, codes));
      out.emplace(module + ".qzeros", integers({groups, m / in_word}, zeros));
      out.emplace(module + ".scales", plain(DType::f16, {groups, m}, scales));
      if (how.has_groups) out.emplace(module + ".g_idx", integers({n}, index));
      expected_[spec.name] = values;
    }
    config_["quantization_config"] = {{"quant_method", "gptq"},
                                      {"bits", how.bits},
                                      {"group_size", how.group},
                                      {"checkpoint_format", how.offset == 1 ? "gptq" : "gptq_v2"}};
    return out;
  }

  ProgramResult run(const std::string& name, int ranks = 0) const {
    return run_hack(ranks, {"import", file(name), "--base", file("base"), "--output", file(name + ".h5")});
  }

  /// What is imported is what was written; numbers of low rank differ by the rounding of `expected_` to f32.
  void expect_values(const std::string& name, std::optional<Codec> codec = {}) {
    const ProgramResult done = run(name);
    ASSERT_EQ(done.status, 0) << done.err;
    const svd::FactorArchive archive(file(name + ".h5"));
    EXPECT_EQ(archive.matrices().size(), expected_.size());
    for (const auto& [matrix, values] : expected_) {
      const svd::MatrixTable& table = archive.matrix(matrix);
      for (index_t t = 0; t < table.grid.size(); ++t) {
        EXPECT_EQ(table.terms_of(t).front().codec, codec.value_or(table.terms_of(t).front().codec));
        const svd::Tile at = table.grid.tile(t);
        const std::vector<double> found = values_of(archive.read_tiles(matrix, svd::Range{t, t + 1}).front(), at);
        for (index_t n = 0; n < std::ssize(found); ++n) {
          const float x = values[(at.row + n / at.width) * table.grid.cols() + at.col + n % at.width];
          ASSERT_NEAR(found[n], x, codec ? 0 : std::abs(x) * 0x1p-22 + 1e-12) << matrix << " " << n;
        }
      }
    }
  }

  void expect_refusal(const std::string& name, const std::string& says, const std::vector<int>& runs = {0}) const {
    for (const int ranks : runs) {
      const ProgramResult done = run(name, ranks);
      EXPECT_EQ(done.status, 1) << done.out;
      EXPECT_NE(done.err.find(says), std::string::npos) << says << " is not in:\n" << done.err;
      EXPECT_FALSE(fs::exists(file(name + ".h5")));
    }
  }

  TemporaryDirectory folder_;
  TinyModel tiny_;
  json config_;
  Tensors base_;
  std::vector<model::TensorSpec> linears_;
  std::map<std::string, std::vector<float>> expected_;
};

/// "self_attn.q_proj" -> "self_attn.q_u_proj", "self_attn.q_v_proj"
std::pair<std::string, std::string> svd_llm(const std::string& module) {
  const std::string stem = module.substr(0, module.size() - 5);
  return {stem + "_u_proj", stem + "_v_proj"};
}

TEST_F(Import, TwoLinearLayersAreTermsOfLowRank) {
  write("svd-llm", low_rank(DType::f16, svd_llm));
  expect_values("svd-llm");
  const svd::FactorArchive archive(file("svd-llm.h5"));
  EXPECT_EQ(archive.matrix(linears_[0].name).terms.front().codec, Codec::f16);

  // Some stay dense; one of these is another one than the model's.
  expected_.clear();
  Tensors tensors = low_rank(DType::f32, [](const std::string& module) {
    const bool is_mlp = module.find("mlp") != std::string::npos;
    return is_mlp ? std::pair(module + ".ALinear", module + ".BLinear") : std::pair<std::string, std::string>();
  });
  const model::TensorSpec& other = linears_[0];
  const std::vector<float> numbers = random_numbers(other.rows * other.cols, 1, 3);
  tensors[other.name] = plain(DType::f16, {other.rows, other.cols}, numbers);
  expected_[other.name] = numbers;
  config_["model_type"] = "asvd_llama";
  write("asvd", tensors);
  expect_values("asvd");
}

TEST_F(Import, QuantisedMatricesKeepCodesAndScales) {
  const std::pair<Gptq, Codec> cases[] = {
      {{4, 32, true, 1}, Codec::q4_0},  {{4, 64, true, 0, false, false}, Codec::q4_0},
      {{4, 32, false, 1}, Codec::q5_0}, {{8, 32, true, 1}, Codec::q8_0},
      {{2, 32, true, 1}, Codec::q4_0},  {{4, 128, false, 0, false, false}, Codec::q5_0}};
  int number = 0;
  for (const auto& [how, codec] : cases) {
    SCOPED_TRACE(fmt::format("{} bits, groups of {}", how.bits, how.group));
    expected_.clear();
    const std::string name = fmt::format("gptq{}", number++);
    write(name, quantised(how));
    expect_values(name, codec);
  }
}

TEST_F(Import, RunsAndIsTheSameOnSeveralRanks) {
  write("gptq", quantised({8, 32, true, 1}));
  ASSERT_EQ(run("gptq").status, 0);
  const std::string bytes = read_file(file("gptq.h5"));
  for (const int ranks : {2, 3}) {
    const ProgramResult done = run("gptq", ranks);
    ASSERT_EQ(done.status, 0) << done.err;
    EXPECT_EQ(read_file(file("gptq.h5")), bytes);
  }
  // A code of -128 is multiplied by the kernels with int8 tokens as by those in f32, up to the tokens' rounding.
  std::vector<double> perplexities;
  for (const char* products : {"exact", "fast"}) {
    const ProgramResult done =
        run_hack(0, {"perplexity", file("base"), "--archive", file("gptq.h5"), "--text", file("text"), "--context",
                     "64", "--products", products, "--report", file("report.json")});
    ASSERT_EQ(done.status, 0) << done.err;
    perplexities.push_back(json::parse(read_file(file("report.json")))["results"]["perplexity"].get<double>());
  }
  EXPECT_NEAR(perplexities[1] / perplexities[0], 1, 0.02);
}

TEST_F(Import, WhatCannotBeHeldIsNamed) {
  write("act", quantised({4, 32, true, 1, true}));
  expect_refusal("act", "desc_act");
  Tensors tensors = quantised({8, 32, false, 0});
  write("wide", tensors);
  expect_refusal("wide", "beyond 8 bits", {0, 3});  // found while the archive is written
  tensors = quantised({4, 32, true, 1});
  tensors["model.layers.0.mlp.up_proj.qzeros"].bytes[0] = std::byte{0xff};
  write("zero", tensors);
  expect_refusal("zero", "model.layers.0.mlp.up_proj.qzeros");
  tensors = quantised({4, 32, true, 1});
  tensors["model.layers.0.mlp.surprise"] = plain(DType::f32, {1}, {1});
  write("unknown", tensors);
  expect_refusal("unknown", "surprise");
  tensors = quantised({4, 32, true, 1});
  tensors["model.norm.weight"].bytes[0] ^= std::byte{1};
  write("norm", tensors);
  expect_refusal("norm", "model.norm.weight", {0, 2});  // found by rank 0
  tensors.erase("model.layers.1.mlp.up_proj.qweight");
  write("incomplete", tensors);
  expect_refusal("incomplete", "model.layers.1.mlp.up_proj");
  config_["quantization_config"]["bits"] = 3;
  write("bits", tensors);
  expect_refusal("bits", "3 bits");
  config_["quantization_config"] = {{"quant_method", "awq"}, {"bits", 4}};
  write("awq", tensors);
  expect_refusal("awq", "awq");
  config_.erase("quantization_config");
  write("plain", base_);
  expect_refusal("plain", "compressed as it is");
  config_["rms_norm_eps"] = 0.5;
  write("eps", low_rank(DType::f16, svd_llm));
  expect_refusal("eps", "epsilon");
}

}  // namespace
}  // namespace hack::testing
