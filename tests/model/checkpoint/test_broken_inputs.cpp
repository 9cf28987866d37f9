// Models that are broken in one place each, read in this process: each is an error that names the file and says what is
// wrong. tests/jobs/test_failures.cpp has what a user sees of such errors.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/tokenizer/open_tokenizer.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

using hack::testing::ByteString;
using hack::testing::GgufWriter;
using hack::testing::read_file;
using hack::testing::TemporaryDirectory;
using hack::testing::TinyModel;
using hack::testing::write_file;
using nlohmann::json;

TinyModel small() {
  TinyModel tiny;
  tiny.hidden = 12;
  tiny.intermediate = 5;
  tiny.layers = 1;
  tiny.heads = 2;
  tiny.kv_heads = 1;
  return tiny;
}

/// Opens a model and reads all of it, its tokenizer too; the message of the error, empty if there is none.
std::string refusal(const fs::path& model) {
  try {
    const auto checkpoint = Checkpoint::open(model);
    for (const std::string& name : checkpoint->names()) hack::testing::read_all(*checkpoint, name);
    const Tokenizer tokenizer = checkpoint->tokenizer();
    tokenizer.decode(tokenizer.encode("a text, <|end|> of words", AddSpecial::yes));
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

void expect_refused(const fs::path& model, const std::string& name, const std::string& says) {
  const std::string message = refusal(model);
  EXPECT_NE(message, "") << name << ": accepted";
  EXPECT_NE(message.find(model.string()), std::string::npos) << name << ": does not name the file: " << message;
  EXPECT_NE(message.find(says), std::string::npos) << name << ": '" << says << "' is not in: " << message;
}

/// A JSON file of the model with another value at a place (a JSON pointer).
struct JsonCase {
  const char* file;
  const char* place;
  const char* value;  ///< JSON; "" removes what is there
  const char* says;
};

const JsonCase json_cases[] = {
    {"config.json", "/model_type", "5", "'model_type' is not a text"},
    {"config.json", "/model_type", "\"opt\"", "'opt'"},
    {"config.json", "/hidden_size", "0", "hidden size is 0"},
    {"config.json", "/hidden_size", "-12", "hidden size is -12"},
    {"config.json", "/hidden_size", "13", "shape"},
    {"config.json", "/hidden_size", "12.0", "'hidden_size' is not an integer"},
    {"config.json", "/hidden_size", "\"12\"", "'hidden_size' is not an integer"},
    {"config.json", "/hidden_size", "9223372036854775807", "hidden size"},
    {"config.json", "/hidden_size", "18446744073709551615", "above 2^63"},
    {"config.json", "/hidden_size", "[12]", "'hidden_size' is not an integer"},
    {"config.json", "/hidden_size", "", "it has no 'hidden_size'"},
    {"config.json", "/intermediate_size", "0", "intermediate size is 0"},
    {"config.json", "/intermediate_size", "268435457", "intermediate size"},
    {"config.json", "/num_hidden_layers", "0", "layers"},
    {"config.json", "/num_hidden_layers", "2", "incomplete"},
    {"config.json", "/num_hidden_layers", "1000000000", "layers"},
    {"config.json", "/num_attention_heads", "0", "heads"},
    {"config.json", "/num_attention_heads", "3", "shape"},
    {"config.json", "/num_key_value_heads", "3", "heads"},
    {"config.json", "/num_key_value_heads", "0", "heads"},
    {"config.json", "/head_dim", "5", "odd"},
    {"config.json", "/head_dim", "0", "head"},
    {"config.json", "/vocab_size", "0", "vocabulary"},
    {"config.json", "/vocab_size", "262", "262"},
    {"config.json", "/vocab_size", "100000", "shape"},
    {"config.json", "/rms_norm_eps", "-1", "epsilon"},
    {"config.json", "/rms_norm_eps", "1e300", "epsilon"},
    {"config.json", "/rms_norm_eps", "\"small\"", "'rms_norm_eps' is not a number"},
    {"config.json", "/rope_theta", "-10000", "theta"},
    {"config.json", "/rope_theta", "true", "'rope_theta' is not a number"},
    {"config.json", "/rope_scaling", "{\"rope_type\":\"dynamic\"}", "it has no 'factor'"},
    {"config.json", "/rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":8}", "low_freq_factor"},
    {"config.json", "/rope_scaling", "{\"rope_type\":\"linear\",\"factor\":-2}", "factor"},
    {"config.json", "/rope_scaling", "\"linear\"", "not a JSON object"},
    {"config.json", "/eos_token_id", "263", "263"},
    {"config.json", "/eos_token_id", "4294967296", "eos_token_id"},
    {"config.json", "/eos_token_id", "[262,\"x\"]", "eos_token_id"},
    {"config.json", "/tie_word_embeddings", "1", "'tie_word_embeddings' is not true or false"},
    {"config.json", "/attention_bias", "true", "incomplete"},
    {"config.json", "/mlp_bias", "true", "incomplete"},
    {"config.json", "/quantization_config", "{\"quant_method\":\"awq\"}", "awq"},
    {"config.json", "/hidden_act", "7", "'hidden_act' is not a text"},
    {"generation_config.json", "/eos_token_id", "500", "500"},
    {"generation_config.json", "/eos_token_id", "-1", "-1"},
    {"generation_config.json", "/eos_token_id", "{}", "'eos_token_id' is not an integer"},
    {"tokenizer.json", "/normalizer", "{\"type\":\"NFKC\"}", "NFKC"},
    {"tokenizer.json", "/normalizer", "[1]", "not as a tokenizer's file"},
    {"tokenizer.json", "/model", "", "'model'"},
    {"tokenizer.json", "/model/type", "\"Unigram\"", "Unigram"},
    {"tokenizer.json", "/model/type", "3", "not as a tokenizer's file"},
    {"tokenizer.json", "/model/vocab", "{}", "vocabulary"},
    {"tokenizer.json", "/model/vocab", "[\"a\"]", "not as a tokenizer's file"},
    {"tokenizer.json", "/model/vocab/a", "-1", "impossible id"},
    {"tokenizer.json", "/model/vocab/a", "1.5", "impossible id"},
    {"tokenizer.json", "/model/vocab/a", "\"97\"", "impossible id"},
    {"tokenizer.json", "/model/vocab/a", "9007199254740993", "impossible id"},
    {"tokenizer.json", "/model/vocab/a", "18446744073709551615", "impossible id"},
    {"tokenizer.json", "/model/vocab/a", "5", "id 5 of another token"},
    {"tokenizer.json", "/model/merges/0", "\"a b c\"", "not two tokens"},
    {"tokenizer.json", "/model/merges/0", "\"ab\"", "not two tokens"},
    {"tokenizer.json", "/model/merges/0", "[\"a\"]", "it must be a pair"},
    {"tokenizer.json", "/model/merges/0", "[\"a\",5]", "not as a tokenizer's file"},
    {"tokenizer.json", "/model/merges/0", "[\"qq\",\"a\"]", "not in the vocabulary"},
    {"tokenizer.json", "/model/merges", "{}", "not as a tokenizer's file"},
    {"tokenizer.json", "/model/unk_token", "\"<unk>\"", "'<unk>' is not in the vocabulary"},
    {"tokenizer.json", "/model/dropout", "0.5", "dropout"},
    {"tokenizer.json", "/model/byte_fallback", "true", "byte_fallback"},
    {"tokenizer.json", "/model/end_of_word_suffix", "\"</w>\"", "end_of_word_suffix"},
    {"tokenizer.json", "/added_tokens/0/content", "\"\"", "is empty"},
    {"tokenizer.json", "/added_tokens/0/content", "", "not as a tokenizer's file"},
    {"tokenizer.json", "/added_tokens/0/id", "4294967296", "impossible id"},
    {"tokenizer.json", "/added_tokens/0/id", "null", "impossible id"},
    {"tokenizer.json", "/added_tokens/0/id", "3", "id 3 of another token"},
    {"tokenizer.json", "/added_tokens/0/lstrip", "\"yes\"", "not as a tokenizer's file"},
    {"tokenizer.json", "/added_tokens/0", "17", "not as a tokenizer's file"},
    {"tokenizer.json", "/pre_tokenizer", "null", "ByteLevel"},
    {"tokenizer.json", "/pre_tokenizer", "{\"type\":\"Whitespace\"}", "Whitespace"},
    {"tokenizer.json", "/pre_tokenizer", "{\"type\":\"Sequence\"}", "not as a tokenizer's file"},
    {"tokenizer.json", "/pre_tokenizer",
     R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"},)"
     R"({"type":"ByteLevel","add_prefix_space":false}]})",
     "is not usable"},
    {"tokenizer.json", "/pre_tokenizer",
     R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\C"},"behavior":"Isolated"},)"
     R"({"type":"ByteLevel","add_prefix_space":false}]})",
     "is not usable"},
    {"tokenizer.json", "/pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\"}",
     "Removed"},
    {"tokenizer.json", "/pre_tokenizer",
     "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\"}", "only Regex"},
    {"tokenizer.json", "/post_processor", "{\"type\":\"BertProcessing\"}", "BertProcessing"},
    {"tokenizer.json", "/post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}", "without the text A"},
    {"tokenizer.json", "/post_processor",
     "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}],"
     "\"special_tokens\":{\"x\":{\"ids\":[70000]}}}",
     "70000"},
    {"tokenizer.json", "/decoder", "{\"type\":\"WordPiece\"}", "WordPiece"},
    {"tokenizer_config.json", "/eos_token", "5", "tokenizer_config.json"},
    {"tokenizer_config.json", "/bos_token", "{}", "tokenizer_config.json"},
};

TEST(BrokenInputs, JsonWithAnotherValue) {
  const TemporaryDirectory folder;
  const fs::path model = folder / "model";
  write_hf(small(), model);
  write_file(model / "generation_config.json", "{}");
  ASSERT_EQ(refusal(model), "");
  for (const JsonCase& broken : json_cases) {
    const std::string whole = read_file(model / broken.file);
    json changed = json::parse(whole);
    const json::json_pointer place(broken.place);
    if (*broken.value == '\0') {
      changed[place.parent_pointer()].erase(place.back());
    } else {
      changed[place] = json::parse(broken.value);
    }
    write_file(model / broken.file, changed.dump());
    expect_refused(model, std::string(broken.file) + broken.place + " = " + broken.value, broken.says);
    write_file(model / broken.file, whole);
  }
}

/// Texts that are no JSON, or more of it than anybody wants, in the place of each JSON file.
TEST(BrokenInputs, TextsThatAreNoJson) {
  const std::pair<const char*, std::string> texts[] = {
      {"is not valid JSON", ""},
      {"is not valid JSON", "{"},
      {"is not valid JSON", "{\"a\":1}}"},
      {"is not valid JSON", "{\"a\":NaN}"},
      {"is not valid JSON", "{\"a\":1e999}"},
      {"is not valid JSON", "{\"a\":\"\xff\xfe\"}"},
      {"is not valid JSON", "{\"a\":\"\xed\xa0\x80\"}"},
      {"is not valid JSON", std::string("{\"a\":1}\0", 8)},
      {"nests deeper", std::string(100000, '[')},
      {"nests deeper", "{\"a\":" + std::string(5000, '[') + std::string(5000, ']') + "}"},
      {"appears twice", "{\"a\":1,\"b\":2,\"a\":3}"},
      {"appears twice", "{\"b\":{\"c\":1,\"c\":1}}"},
  };
  const TemporaryDirectory folder;
  const fs::path model = folder / "model";
  TinyModel tiny = small();
  tiny.shards = 2;
  write_hf(tiny, model);
  write_file(model / "generation_config.json", "{}");
  ASSERT_EQ(refusal(model), "");
  for (const char* file : {"config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json",
                           "tokenizer_config.json"}) {
    const std::string whole = read_file(model / file);
    for (const auto& [says, text] : texts) {
      write_file(model / file, text);
      expect_refused(model, std::string(file) + ": " + text.substr(0, 40), says);
    }
    write_file(model / file, whole);
  }
}

TEST(BrokenInputs, IndexesOfShards) {
  const TemporaryDirectory folder;
  const fs::path model = folder / "model";
  TinyModel tiny = small();
  tiny.shards = 2;
  write_hf(tiny, model);
  const fs::path index = model / "model.safetensors.index.json";
  const json whole = json::parse(read_file(index));
  const std::string norm = "model.norm.weight";
  const std::pair<json, const char*> names[] = {
      {"../model.safetensors", "not the name of a file"},
      {"/etc/passwd", "not the name of a file"},
      {"..", "not the name of a file"},
      {".", "."},
      {"", "not the name of a file"},
      {5, "is not a text"},
      {nullptr, "norm.weight"},
      {"config.json", "config.json"},
      {"model-00009-of-00009.safetensors", "is missing"},
      {{{"a", 1}}, "is not a text"},
  };
  for (const auto& [name, says] : names) {
    json changed = whole;
    changed["weight_map"][norm] = name;
    write_file(index, changed.dump());
    expect_refused(model, "shard " + name.dump(), says);
  }
  json changed = whole;
  changed["weight_map"].erase(norm);
  write_file(index, changed.dump());
  expect_refused(model, "no shard", "incomplete");
  changed["weight_map"] = json::array({1});
  write_file(index, changed.dump());
  expect_refused(model, "a list", "weight_map");
  write_file(index, "{}");
  expect_refused(model, "nothing", "weight_map");
}

/// A model with one safetensors file.
struct SmallSafetensors {
  SmallSafetensors() {
    write_hf(small(), model);
    whole = read_file(path);
    std::uint64_t length = 0;
    std::memcpy(&length, whole.data(), sizeof(length));
    header = json::parse(whole.substr(8, length));
    data = whole.substr(8 + length);
    at = header[name]["data_offsets"].get<std::vector<std::int64_t>>();
  }
  void write(const json& changed, const std::string& with) const {
    write_file(path, ByteString().add_text(changed.dump()).add_bytes(with).bytes());
  }

  TemporaryDirectory folder;
  fs::path model = folder / "model";
  fs::path path = model / "model.safetensors";
  std::string name = "model.norm.weight";  // (12) of F32
  std::string whole, data;
  json header;
  std::vector<std::int64_t> at;  // where this tensor lies
};

/// Another value in the header's entry of a tensor.
struct EntryCase {
  const char* key;
  json value;
  const char* says;
};

/// `at`: where the tensor, (12) of F32, lies.
std::vector<EntryCase> entry_cases(const std::vector<std::int64_t>& at) {
  return {
      {"dtype", "F64", "damaged"},
      {"dtype", "F4", "F4"},
      {"dtype", "I32", "I32"},
      {"dtype", "", "is of type"},
      {"dtype", 7, "is not a text"},
      {"shape", json::array({12, 1}), "shape"},
      {"shape", json::array({3, 4}), "shape"},
      {"shape", json::array({0}), "damaged"},
      {"shape", json::array({-12}), "a dimension of -12"},
      {"shape", json::array({1ull << 62, 1ull << 2}), "overflows"},
      {"shape", json::array(), "damaged"},
      {"shape", 12, "not a list"},
      {"data_offsets", json::array({at[0] + 4, at[1] + 4}), "overlap"},
      {"data_offsets", json::array({at[1], at[0]}), "data_offsets"},
      {"data_offsets", json::array({-48, 0}), "data_offsets"},
      {"data_offsets", json::array({at[0]}), "data_offsets"},
      {"data_offsets", json::array({at[0], 1ull << 62}), "data_offsets"},
      {"data_offsets", json::array({at[0], at[1] - 4}), "damaged"},
      {"data_offsets", "0", "data_offsets"},
  };
}

/// The header of a safetensors file with another entry for one tensor.
TEST(BrokenInputs, SafetensorsOfModels) {
  const SmallSafetensors file;
  const auto& [folder, model, path, name, whole, data, header, at] = file;
  file.write(header, data);
  ASSERT_EQ(refusal(model), "");
  for (const EntryCase& broken : entry_cases(at)) {
    json changed = header;
    changed[name][broken.key] = broken.value;
    file.write(changed, data);
    expect_refused(model, broken.key + broken.value.dump(), broken.says);
  }
}

TEST(BrokenInputs, SafetensorsWithOtherBytes) {
  const SmallSafetensors file;
  const auto& [folder, model, path, name, whole, data, header, at] = file;
  const std::size_t length = whole.size() - 8 - data.size();
  json renamed = header;
  renamed[""] = renamed[name];
  renamed.erase(name);
  file.write(renamed, data);
  expect_refused(model, "a tensor without a name", "incomplete");
  file.write(header, data + std::string(4, '\0'));
  expect_refused(model, "bytes behind the last tensor", "last 4 bytes belong to no tensor");
  json moved = header;
  for (auto& [tensor, entry] : moved.items()) {
    if (tensor == "__metadata__") continue;
    for (json& offset : entry["data_offsets"]) offset = offset.get<std::int64_t>() + 8;
  }
  file.write(moved, std::string(8, '\0') + data);
  expect_refused(model, "bytes before the first tensor", "8 bytes before tensor");
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::string numbers = data;
    std::memcpy(numbers.data() + at[0], &bad, sizeof(bad));
    file.write(header, numbers);
    expect_refused(model, "a number that is none", "NaN or infinity");
  }
  for (const std::uint64_t size :
       {std::uint64_t{0}, length - 1, length + 1, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    std::string cut = whole;
    std::memcpy(cut.data(), &size, sizeof(size));
    write_file(path, cut);
    expect_refused(model, fmt::format("a header of {} bytes", size), "model.safetensors");
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{8 + length / 2},
                                 std::size_t{8 + length}, whole.size() - 1}) {
    write_file(path, whole.substr(0, size));
    expect_refused(model, fmt::format("cut at {}", size), "model.safetensors");
  }
}

/// Adds a value to the metadata of a GGUF file: its count is the second number behind the version.
std::string with_value(std::string file, const std::string& key, std::uint32_t kind, const std::string& value) {
  std::uint64_t count = 0;
  std::memcpy(&count, file.data() + 16, sizeof(count));
  ++count;
  std::memcpy(file.data() + 16, &count, sizeof(count));
  // In front of all others, with 32 bytes for each 32, so that data stays aligned.
  std::string entry = ByteString().add_text(key).add(kind).add_bytes(value).bytes();
  if (entry.size() % 32 == 0) return file.insert(24, entry);
  const std::size_t filled = entry.size() + 8 + 4 + 8;  // and a text under a key of its own
  std::string filler(32 - (filled + 6) % 32, 'x');
  entry += ByteString().add_text("filler").add(std::uint32_t{8}).add_text(filler).bytes();
  ++count;
  std::memcpy(file.data() + 16, &count, sizeof(count));
  return file.insert(24, entry);
}

/// The same file with a key under another name: the value is gone.
std::string without(std::string file, const std::string& key) {
  const std::size_t at = file.find(ByteString().add_text(key).bytes());
  if (at != std::string::npos) file[at + 8] = '#';
  return file;
}

/// Another value under a key of the metadata.
struct ValueCase {
  const char* key;
  std::uint32_t kind;
  std::string value;
  const char* says;
};

constexpr std::uint32_t u32 = 4, f32 = 6, flag = 7, text = 8, array = 9;

std::string number(std::uint32_t value) { return ByteString().add(value).bytes(); }
std::string real(float value) { return ByteString().add(value).bytes(); }

std::vector<ValueCase> value_cases() {
  return {
      {"general.architecture", u32, number(1), "not a text"},
      {"general.architecture", text, ByteString().add_text("mamba").bytes(), "'mamba'"},
      {"general.alignment", u32, number(0), "alignment is 0"},
      {"general.alignment", u32, number(7), "alignment is 7"},
      {"llama.embedding_length", u32, number(0), "hidden size is 0"},
      {"llama.embedding_length", u32, number(14), "shape"},
      {"llama.embedding_length", f32, real(12), "not an integer"},
      {"llama.feed_forward_length", u32, number(0xffffffffu), "intermediate size"},
      {"llama.block_count", u32, number(2), "incomplete"},
      {"llama.block_count", u32, number(0x7fffffff), "layers"},
      {"llama.attention.head_count", u32, number(0), "heads"},
      {"llama.attention.head_count_kv", u32, number(7), "heads"},
      {"llama.attention.key_length", u32, number(5), "head"},
      {"llama.attention.layer_norm_rms_epsilon", f32, real(-1), "epsilon"},
      {"llama.attention.layer_norm_rms_epsilon", f32, real(std::nanf("")), "epsilon"},
      {"llama.rope.freq_base", f32, real(0), "theta"},
      {"llama.rope.freq_base", text, ByteString().add_text("big").bytes(), "not a number"},
      {"tokenizer.ggml.model", text, ByteString().add_text("llama").bytes(), "'tokenizer.ggml.scores'"},
      {"tokenizer.ggml.pre", text, ByteString().add_text("falcon").bytes(), "'falcon'"},
      {"tokenizer.ggml.eos_token_id", u32, number(5000), "5000"},
      {"tokenizer.ggml.add_bos_token", u32, number(1), "not true or false"},
      {"tokenizer.ggml.tokens", u32, number(1), "not a list"},
      {"tokenizer.ggml.tokens", array, ByteString().add(u32).add(std::uint64_t{1}).add(u32).bytes(), "list of texts"},
      {"tokenizer.ggml.tokens", array, ByteString().add(text).add(std::uint64_t{0}).bytes(),
       "263 entries for 0 tokens"},
      {"tokenizer.ggml.token_type", array, ByteString().add(u32).add(std::uint64_t{1}).add(u32).bytes(), "1 entries"},
      {"tokenizer.ggml.merges", array, ByteString().add(text).add(std::uint64_t{1}).add_text("a").bytes(),
       "not two tokens"},
      {"tokenizer.ggml.merges", array, ByteString().add(text).add(std::uint64_t{1}).add_text("\xff \xfe").bytes(),
       "not in the vocabulary"},
      {"split.count", u32, number(4), "split"},
      {"llama.expert_count", u32, number(8), "mixture of experts"},
      {"extra", array, ByteString().add(u32).add(~std::uint64_t{0}).bytes(), "more than the file"},
      {"extra", array, ByteString().add(array).add(std::uint64_t{1}).bytes(), "not a known one"},
      {"extra", 77, number(1), "not a known one"},
      {"extra", text, ByteString().add(~std::uint64_t{0}).bytes(), "cut short or damaged"},
      {"", u32, number(1), "has 0 bytes"},
      {"llama.context_length", flag, std::string(1, '\1'), "not an integer"},
  };
}

TEST(BrokenInputs, GgufModels) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "model.gguf";
  write_gguf(small(), path, GgmlType::f32);
  const std::string whole = read_file(path);
  write_file(path, with_value(whole, "extra", u32, number(1)));
  ASSERT_EQ(refusal(path), "");
  for (const ValueCase& broken : value_cases()) {
    write_file(path, with_value(without(whole, broken.key), broken.key, broken.kind, broken.value));
    expect_refused(path, broken.key, broken.says);
  }
  write_file(path, with_value(whole, "llama.block_count", u32, number(1)));
  expect_refused(path, "a key twice", "appears twice");
  for (const char* needed :
       {"general.architecture", "llama.embedding_length", "llama.feed_forward_length", "llama.block_count",
        "llama.attention.head_count", "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.model"}) {
    write_file(path, without(whole, needed));
    expect_refused(path, std::string("without ") + needed, needed);
  }
  for (std::size_t part = 1; part < 12; ++part) {
    write_file(path, whole.substr(0, whole.size() * part / 12));
    expect_refused(path, fmt::format("{} twelfths", part), "model.gguf");
  }
  for (const std::size_t at : {8u, 16u}) {  // the counts of tensors and of values
    std::string changed = whole;
    const std::uint64_t huge = 1ull << 60;
    std::memcpy(changed.data() + at, &huge, sizeof(huge));
    write_file(path, changed);
    expect_refused(path, "a count without end", "model.gguf");
  }
}

}  // namespace
}  // namespace hack::model
