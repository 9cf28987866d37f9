// Models that leave without an archive, and the writers of both formats: what the readers find is what was there.

#include <sys/resource.h>

#include <csignal>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/gguf_writer.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/rotary_order.hpp"
#include "model/checkpoint/safetensors_file.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "model/export/model_exporter.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;
using hack::testing::read_all;
using hack::testing::read_file;
using hack::testing::TemporaryDirectory;
using hack::testing::tiny_config;
using hack::testing::TinyModel;
using hack::testing::write_file;
using hack::testing::write_gguf;
using hack::testing::write_hf;

enum class Format { hf, gguf };

/// Exports a model; returns what is said of it.
std::vector<std::string> send(const Checkpoint& from, Format format, const fs::path& to, DType type = DType::f32) {
  Queue<Device::cpu> queue(1);
  const ExportSource source{from, nullptr, queue};
  const auto exporter = format == Format::hf ? export_hf(source, to, type) : export_gguf(source, to, type);
  for (index_t i = 0; i < exporter->size(); ++i) exporter->write_next();
  exporter->finish();
  return exporter->remarks();
}

std::string error_of(const Checkpoint& from, Format format, const fs::path& to) {
  try {
    send(from, format, to);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void expect_same(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_EQ(nlohmann::json(a.config()), nlohmann::json(b.config()));
  EXPECT_EQ(a.fingerprint(), b.fingerprint());
  ASSERT_EQ(a.names(), b.names());
  for (const std::string& name : a.names()) EXPECT_EQ(read_all(a, name), read_all(b, name)) << name;
  const std::string text = "the other in <|end|> 12 and\n\n  \u201cone\u201d";
  const Tokenizer before = a.tokenizer(), after = b.tokenizer();
  EXPECT_EQ(before.encode(text, AddSpecial::yes), after.encode(text, AddSpecial::yes));
  EXPECT_EQ(before.size(), after.size());
  EXPECT_EQ(before.eos(), after.eos());
}

std::vector<TinyModel> variants() {
  std::vector<TinyModel> out(7);
  out[1].tied = true;
  out[1].adds_bos = true;
  out[2].attention_bias = out[2].mlp_bias = true;
  out[3].dtype = DType::bf16;
  out[3].shards = 3;
  out[4].dtype = DType::f16;
  out[4].rope = {RopeType::linear, 5000.0, 2.0};
  out[5].hidden = 64;
  out[5].kv_heads = 10;
  out[5].vocab = 300;
  out[6].qk_norm = true;
  return out;
}

TEST(Export, CarriesEveryWeightAndTheTokenizerToBothFormats) {
  for (const TinyModel& tiny : variants()) {
    const TemporaryDirectory folder;
    write_hf(tiny, folder / "a");
    write_gguf(tiny, folder / "a.gguf", GgmlType::f32);
    for (const char* source : {"a", "a.gguf"}) {
      SCOPED_TRACE(source);
      const auto from = Checkpoint::open(folder / source);
      const std::string to = std::string(source) + "-sent";
      EXPECT_TRUE(send(*from, Format::hf, folder / to).empty());
      EXPECT_TRUE(send(*from, Format::gguf, folder / (to + ".gguf")).empty());
      expect_same(*from, *Checkpoint::open(folder / to));
      expect_same(*from, *Checkpoint::open(folder / (to + ".gguf")));
    }
  }
}

// GGUF has divisors in place of the rule: the weights are the same, the frequencies to rounding.
TEST(Export, CarriesTheRuleOfLlama3ToDivisorsAndBack) {
  TinyModel tiny;
  tiny.heads = 4;
  tiny.kv_heads = 2;
  tiny.head_dim = 16;
  tiny.rope = {RopeType::llama3, 500000.0, 8.0, 1.0, 4.0, 64};
  const TemporaryDirectory folder;
  write_hf(tiny, folder / "a");
  const auto from = Checkpoint::open(folder / "a");
  send(*from, Format::gguf, folder / "b.gguf");
  const auto gguf = Checkpoint::open(folder / "b.gguf");
  EXPECT_EQ(gguf->config().rope_factors.size(), 8u);
  send(*gguf, Format::hf, folder / "c");
  const auto back = Checkpoint::open(folder / "c");
  EXPECT_EQ(nlohmann::json(back->config()), nlohmann::json(from->config()));
  const std::vector<float> a = inverse_frequencies(from->config()), b = inverse_frequencies(gguf->config());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], a[i] * 1e-6f);

  LlamaConfig odd = gguf->config();
  odd.rope_factors[3] = 5;
  EXPECT_THROW(to_hf_config(odd), Error);
}

TEST(Export, KeepsWhatAGgufFileHas) {
  TinyModel tiny;
  tiny.hidden = 64;
  tiny.intermediate = 256;
  for (const GgmlType type : {GgmlType::q4_1, GgmlType::q6_k, GgmlType::bf16}) {
    const TemporaryDirectory folder;
    write_gguf(tiny, folder / "a.gguf", type);
    const auto from = Checkpoint::open(folder / "a.gguf");
    send(*from, Format::gguf, folder / "b.gguf", DType::f16);
    const GgufFile a(folder / "a.gguf"), b(folder / "b.gguf");
    for (const std::string& key : a.keys()) {
      const auto x = a.value_bytes(key), y = b.value_bytes(key);
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << key;
    }
    ASSERT_EQ(a.tensors().size(), b.tensors().size());
    for (const auto& [name, tensor] : a.tensors()) {
      ASSERT_NE(b.find_tensor(name), nullptr) << name;
      EXPECT_EQ(b.find_tensor(name)->type, tensor.type) << name;
      const auto x = a.tensor_bytes(tensor), y = b.tensor_bytes(*b.find_tensor(name));
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << name;
    }
  }
}

TEST(Export, RoundsADirectoryToItsType) {
  const TemporaryDirectory folder;
  write_hf({}, folder / "a");
  const auto from = Checkpoint::open(folder / "a");
  send(*from, Format::hf, folder / "b", DType::bf16);
  const auto to = Checkpoint::open(folder / "b");
  EXPECT_EQ(to->exact_type(), DType::bf16);
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  std::vector<float> expected = read_all(*from, name);
  for (float& x : expected) x = to_float(to_bf16(x));
  EXPECT_EQ(read_all(*to, name), expected);
}

TEST(Export, SaysWhatLlamaCppDoesNotRead) {
  TinyModel window, betas;
  window.sliding_window = 24;
  betas.rope = {.type = RopeType::yarn, .factor = 4, .original_context = 64};
  const auto said_of = [](const TinyModel& tiny) {
    const TemporaryDirectory folder;
    write_hf(tiny, folder / "a");
    const std::vector<std::string> said = send(*Checkpoint::open(folder / "a"), Format::gguf, folder / "a.gguf");
    return said.empty() ? std::string() : said.front();
  };
  EXPECT_TRUE(contains(said_of(window), "24 tokens")) << said_of(window);
  EXPECT_EQ(said_of(betas), "");
  betas.rope.beta_slow = 2;
  EXPECT_TRUE(contains(said_of(betas), "--yarn-beta-fast 32 --yarn-beta-slow 2")) << said_of(betas);
}

TEST(Export, RefusesWhatWouldBeLost) {
  const TemporaryDirectory folder;
  TinyModel biased;
  biased.qk_norm = biased.attention_bias = true;
  write_hf(biased, folder / "biased");
  const std::string said = error_of(*Checkpoint::open(folder / "biased"), Format::gguf, folder / "biased.gguf");
  EXPECT_TRUE(contains(said, "biases of attention")) << said;
  write_hf({}, folder / "a");
  write_gguf({}, folder / "a.gguf", GgmlType::f32);
  const auto hf = Checkpoint::open(folder / "a"), gguf = Checkpoint::open(folder / "a.gguf");
  const std::string before = read_file(folder / "a.gguf");
  EXPECT_TRUE(contains(error_of(*gguf, Format::gguf, folder / "a.gguf"), "the model itself"));
  fs::create_hard_link(folder / "a.gguf", folder / "b.gguf");
  EXPECT_TRUE(contains(error_of(*gguf, Format::gguf, folder / "b.gguf"), "the model itself"));
  EXPECT_EQ(read_file(folder / "a.gguf"), before);
  EXPECT_TRUE(contains(error_of(*hf, Format::hf, folder / "a"), "holds files"));
  fs::create_directory(folder / "own");
  write_file(folder / "own/LICENSE", "the user's");
  EXPECT_TRUE(contains(error_of(*hf, Format::hf, folder / "own"), "holds files"));
  EXPECT_EQ(read_file(folder / "own/LICENSE"), "the user's");
  EXPECT_TRUE(contains(error_of(*hf, Format::hf, folder / "a.gguf"), "a.gguf"));
  EXPECT_TRUE(contains(error_of(*hf, Format::gguf, folder / "c.bin"), ".gguf"));

  nlohmann::json tokenizer = read_json(folder / "a/tokenizer.json");
  tokenizer["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "[0-9]"}}}, {"behavior", "Isolated"}, {"invert", false}},
        tokenizer["pre_tokenizer"]}}};
  write_file(folder / "a/tokenizer.json", tokenizer.dump());
  EXPECT_TRUE(contains(error_of(*hf, Format::gguf, folder / "c.gguf"), "tokenizer.ggml.pre"));
  EXPECT_FALSE(fs::exists(folder / "c.gguf"));
  EXPECT_EQ(error_of(*hf, Format::hf, folder / "c"), "");
}

// A limit on the size of files stands for a full disk: the write fails in the same way.
TEST(Export, NamesTheFileThatCannotBeWritten) {
  const TemporaryDirectory folder;
  write_hf({}, folder / "a");
  const auto from = Checkpoint::open(folder / "a");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100'000;  // the model has more
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string gguf = error_of(*from, Format::gguf, folder / "b.gguf");
  const std::string hf = error_of(*from, Format::hf, folder / "b");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_TRUE(contains(gguf, "cannot write") && contains(gguf, "b.gguf")) << gguf;
  EXPECT_TRUE(contains(hf, "cannot write") && contains(hf, "b/model.safetensors")) << hf;
  EXPECT_FALSE(fs::exists(folder / "b.gguf") || fs::exists(folder / "b.gguf.hack-tmp") || fs::exists(folder / "b"));
}

TEST(Export, SaysWhenATokenizerCannotBeWritten) {
  const TemporaryDirectory folder;
  write_gguf({}, folder / "a.gguf", GgmlType::f32);
  std::string bytes = read_file(folder / "a.gguf");
  bytes.replace(bytes.find("gpt-2"), 5, "other");
  write_file(folder / "a.gguf", bytes);
  const std::vector<std::string> remarks = send(*Checkpoint::open(folder / "a.gguf"), Format::hf, folder / "b");
  ASSERT_EQ(remarks.size(), 1u);
  EXPECT_TRUE(contains(remarks[0], "no tokenizer was written")) << remarks[0];
  EXPECT_FALSE(fs::exists(folder / "b/tokenizer.json"));
}

TEST(RotaryOrder, GoesThereAndBack) {
  for (const index_t head : {0, 2, 6, 64}) {
    for (index_t r = 0; r < 2 * std::max<index_t>(head, 3); ++r) {
      EXPECT_EQ(hf_row(gguf_row(r, head), head), r);
      EXPECT_EQ(gguf_row(hf_row(r, head), head), r);
    }
  }
  EXPECT_EQ(gguf_row(6 + 4, 6), 6 + 3);  // the second member of pair 1 in head 1
}

TEST(GgufWriter, WritesWhatGgufFileReads) {
  const TemporaryDirectory folder;
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  GgufWriter writer(folder / "a.gguf");
  writer.add_text("general.architecture", "llama");
  writer.add_integer("n", 4000000000u);
  writer.add_number("x", 0.1f);
  writer.add_flag("yes", true);
  writer.add_integers("list", std::vector<std::int32_t>{3, -1});
  writer.add_texts("texts", std::vector<std::string>{"a b", "", "\u0120"});
  writer.add_tensor("w", std::vector<index_t>{3, 2}, GgmlType::f32);
  writer.add_tensor("v", std::vector<index_t>{6}, GgmlType::f32);
  const auto bytes = std::as_bytes(std::span(x));
  writer.write(bytes.first(10));
  EXPECT_FALSE(fs::exists(folder / "a.gguf"));
  writer.write(bytes.subspan(10));
  writer.write(bytes);
  writer.finish();

  const GgufFile file(folder / "a.gguf");
  EXPECT_EQ(file.find_string("general.architecture"), "llama");
  EXPECT_EQ(file.find_integer("n"), 4000000000);
  EXPECT_EQ(file.find_number("x"), double{0.1f});
  EXPECT_EQ(file.find_bool("yes"), true);
  EXPECT_EQ(file.integers("list"), (std::vector<std::int64_t>{3, -1}));
  EXPECT_EQ(file.strings("texts"), (std::vector<std::string>{"a b", "", "\u0120"}));
  EXPECT_EQ(file.find_tensor("w")->dims, (std::vector<index_t>{3, 2}));
  for (const char* name : {"w", "v"}) {
    const auto read = file.tensor_bytes(*file.find_tensor(name));
    EXPECT_TRUE(std::equal(read.begin(), read.end(), bytes.begin(), bytes.end())) << name;
  }
}

TEST(SafetensorsWriter, WritesWhatSafetensorsFileReads) {
  const TemporaryDirectory folder;
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  {
    SafetensorsWriter writer(folder / "a.safetensors");
    writer.add_tensor("w", std::vector<index_t>{2, 3}, DType::f32);
    writer.add_tensor("b", std::vector<index_t>{12}, DType::bf16);
    writer.write(std::as_bytes(std::span(x)));
    writer.write(std::as_bytes(std::span(x)));
    writer.finish();
    SafetensorsWriter unfinished(folder / "b.safetensors");
    unfinished.add_tensor("w", std::vector<index_t>{2, 3}, DType::f32);
    unfinished.write(std::as_bytes(std::span(x)));
  }
  EXPECT_FALSE(fs::exists(folder / "b.safetensors"));
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.find("w")->shape, (std::vector<index_t>{2, 3}));
  EXPECT_EQ(file.find("w")->type, "F32");
  EXPECT_EQ(file.find("b")->type, "BF16");
  EXPECT_EQ(file.find("b")->offset, file.find("w")->offset + 24);
  EXPECT_EQ(file.find("w")->offset % 8, 0u);
}

/// A tokenizer with everything that both formats can say.
TokenizerDescription full_description() {
  TokenizerDescription out;
  out.source = "a test";
  for (const char* text : {"a", "b", "c", "\u0120", "ab", "1", "2", "12"}) {
    out.vocabulary.emplace_back(text, std::ssize(out.vocabulary));
  }
  out.merges = {{"a", "b"}, {"1", "2"}};
  out.added_tokens = {{.text = "<s>", .id = 8, .special = true}, {.text = "<u >", .id = 9}};
  out.prefix = {8};
  out.bos = 8;
  out.eos = 9;
  out.chat_template = "{{ messages }}";
  return out;
}

TEST(TokenizerWriters, WriteWhatTheReadersRead) {
  const std::string text = "<s>ab12 c<u >12";
  const std::vector<std::vector<std::string>> all_patterns = {
      {digit_pattern, byte_level_pattern}, {byte_level_pattern}, {llama3_pattern}};
  for (const std::vector<std::string>& patterns : all_patterns) {
    TokenizerDescription description = full_description();
    description.patterns = patterns;
    description.ignore_merges = patterns[0] == llama3_pattern;
    const std::vector<int> expected = Tokenizer(description).encode(text, AddSpecial::yes);
    const TemporaryDirectory folder;
    write_file(folder / "tokenizer.json", tokenizer_json_of(description).dump());
    write_file(folder / "tokenizer_config.json", tokenizer_config_of(description).dump());
    GgufWriter writer(folder / "a.gguf");
    add_tokenizer(writer, description, 12, {9, 3, 4, 5});
    writer.finish();
    const GgufFile file(folder / "a.gguf");
    for (const TokenizerDescription& read :
         {read_tokenizer_json(folder / "tokenizer.json"), read_tokenizer_gguf(file)}) {
      EXPECT_EQ(Tokenizer(read).encode(text, AddSpecial::yes), expected);
      EXPECT_EQ(read.patterns, patterns);
      EXPECT_EQ(read.merges, description.merges);
      EXPECT_EQ(read.ignore_merges, description.ignore_merges);
      EXPECT_EQ(read.bos, 8);
      EXPECT_EQ(read.eos, 9);
      EXPECT_EQ(read.chat_template, description.chat_template);
      EXPECT_EQ(read.prefix, description.prefix);
      EXPECT_TRUE(read.added_tokens[0].special);
      EXPECT_FALSE(read.added_tokens[1].special);
    }
    EXPECT_EQ(file.strings("tokenizer.ggml.tokens")[11], "[PAD11]");
    EXPECT_EQ(file.find_integer("tokenizer.ggml.eot_token_id"), 3);
    EXPECT_EQ(file.find_integer("tokenizer.ggml.eom_token_id"), 4);
  }
}

TEST(TokenizerWriters, SayWhatGgufCannotHold) {
  const TemporaryDirectory folder;
  const auto error_for = [&](TokenizerDescription description, index_t vocab_size) -> std::string {
    if (description.patterns.empty()) description.patterns = {byte_level_pattern};
    GgufWriter writer(folder / "a.gguf");
    try {
      add_tokenizer(writer, description, vocab_size, {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_for(full_description(), 10), "");
  EXPECT_TRUE(contains(error_for(full_description(), 9), "embeds 9 tokens"));
  TokenizerDescription two = full_description();
  two.prefix = {8, 9};
  EXPECT_TRUE(contains(error_for(two, 10), "2 tokens"));
  TokenizerDescription greedy = full_description();
  greedy.added_tokens[0].strips_left = true;
  EXPECT_TRUE(contains(error_for(greedy, 10), "white space"));
}

}  // namespace
}  // namespace hack::model
