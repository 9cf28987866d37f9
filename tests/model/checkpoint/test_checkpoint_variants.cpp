// Checkpoints as they are met: saved without or with another prefix, with tensors that nothing asks for, quantised, in
// formats that are not read.

#include <cstring>
#include <span>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/tokenizer/open_tokenizer.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;
using hack::testing::read_file;
using hack::testing::TemporaryDirectory;
using hack::testing::TinyModel;
using hack::testing::write_file;
using hack::testing::write_gguf;
using hack::testing::write_hf;

/// Gives the tensors of a safetensors file other names.
template <class Rename>
void rename_tensors(const fs::path& path, Rename rename) {
  const std::string bytes = read_file(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(sizeof(length), length));
  nlohmann::json renamed;
  for (const auto& [name, entry] : header.items()) renamed[name == "__metadata__" ? name : rename(name)] = entry;
  const std::string text = renamed.dump();
  const std::uint64_t new_length = text.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&new_length), sizeof(new_length)) + text +
                       bytes.substr(sizeof(length) + length));
}

TEST(CheckpointVariants, PrefixOfNamesMayBeAnother) {
  for (const bool tied : {false, true}) {
    TinyModel tiny;
    tiny.tied = tied;
    const TemporaryDirectory directory;
    write_hf(tiny, directory / "usual");
    const std::string usual = Checkpoint::open(directory / "usual")->fingerprint();
    for (const std::string prefix : {"", "language_model.model.", "transformer."}) {
      const fs::path variant = directory / ("variant-" + prefix);
      write_hf(tiny, variant);
      rename_tensors(variant / "model.safetensors", [&](const std::string& name) {
        return name.starts_with("model.") ? prefix + name.substr(6) : name;
      });
      const auto checkpoint = Checkpoint::open(variant);
      EXPECT_EQ(checkpoint->fingerprint(), usual) << prefix;
      EXPECT_TRUE(checkpoint->warnings().empty()) << prefix;
    }
  }
}

TEST(CheckpointVariants, TensorsThatNothingAsksForAreNamed) {
  TinyModel biased;
  biased.attention_bias = biased.mlp_bias = true;
  const TemporaryDirectory directory;
  write_hf(biased, directory.path());
  EXPECT_TRUE(Checkpoint::open(directory.path())->warnings().empty());
  nlohmann::json config = nlohmann::json::parse(read_file(directory / "config.json"));
  config.erase("attention_bias");
  config.erase("mlp_bias");
  write_file(directory / "config.json", config.dump());
  const auto checkpoint = Checkpoint::open(directory.path());
  ASSERT_EQ(checkpoint->warnings().size(), 1u);
  const std::string& warning = checkpoint->warnings()[0];
  for (const char* word : {"14 tensors", "model.layers.0.mlp.down_proj.bias", "attention_bias", "…"})
    EXPECT_NE(warning.find(word), std::string::npos) << warning;
}

TEST(CheckpointVariants, QuantisedOnesAreNamedWhateverTheirTensors) {
  const TemporaryDirectory directory;
  write_hf({}, directory.path());
  nlohmann::json config = nlohmann::json::parse(read_file(directory / "config.json"));
  config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}};
  write_file(directory / "config.json", config.dump());
  try {
    Checkpoint::open(directory.path());
    ADD_FAILURE() << "opened";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("quantised by gptq, 4 bits"), std::string::npos) << error.what();
  }
  EXPECT_GT(open_tokenizer(directory.path()).size(), 0);
}

TEST(CheckpointVariants, FormatsThatAreNotReadAreNamedByWhoReadsThem) {
  const TemporaryDirectory directory;
  const fs::path file = directory / "a.gguf";
  write_gguf({}, file, GgmlType::f32);
  std::string bytes = read_file(file);
  const std::string name = "blk.1.ffn_up.weight";
  const std::size_t at = bytes.find(name) + name.size();  // number of dimensions, two of 8 bytes, type
  const std::uint32_t iq2_xxs = 16;
  std::memcpy(bytes.data() + at + 4 + 16, &iq2_xxs, sizeof(iq2_xxs));
  write_file(file, bytes);
  const auto checkpoint = Checkpoint::open(file);
  const std::string tensor = "model.layers.1.mlp.up_proj.weight";
  EXPECT_EQ(checkpoint->info(tensor).type, "IQ2_XXS");
  EXPECT_EQ(checkpoint->info(tensor).rows, 151);
  EXPECT_EQ(checkpoint->codec(tensor), std::nullopt);
  EXPECT_GT(checkpoint->tokenizer().size(), 0);
  float number = 0;
  for (const bool whole : {false, true}) {
    try {
      if (whole) {
        checkpoint->fingerprint();
      } else {
        checkpoint->read(tensor, 0, 0, {&number, 1, 1});
      }
      ADD_FAILURE() << "read";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(tensor), std::string::npos) << text;
      EXPECT_NE(text.find("in IQ2_XXS; formats that are read: F32"), std::string::npos) << text;
    }
  }
}

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A GGUF file again, cut into parts as llama-gguf-split does it.
void write_parts(const GgufFile& whole, const fs::path& directory, std::uint32_t parts) {
  for (std::uint32_t part = 0; part < parts; ++part) {
    hack::testing::GgufWriter writer;
    if (part == 0) {
      for (const std::string& key : whole.keys()) writer.add_value(key, as_text(whole.value_bytes(key)));
    }
    writer.add_integer("split.no", part);
    writer.add_integer("split.count", parts);
    writer.add_integer("split.tensors.count", static_cast<std::uint32_t>(whole.tensors().size()));
    std::uint32_t number = 0;
    for (const auto& [name, tensor] : whole.tensors()) {
      if (number++ % parts == part) {
        writer.add_tensor(name, tensor.dims, tensor.type, as_text(whole.tensor_bytes(tensor)));
      }
    }
    write_file(directory / fmt::format("m-{:05}-of-{:05}.gguf", part + 1, parts), writer.bytes());
  }
}

std::string error_of_opening(const fs::path& path) {
  try {
    Checkpoint::open(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CheckpointVariants, PartsOfASplitGgufAreOneModel) {
  const TemporaryDirectory directory;
  write_gguf({}, directory / "whole.gguf", GgmlType::f16);
  write_parts(GgufFile(directory / "whole.gguf"), directory.path(), 3);
  const std::string expected = Checkpoint::open(directory / "whole.gguf")->fingerprint();
  for (const char* part : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf"}) {
    const auto checkpoint = Checkpoint::open(directory / part);
    EXPECT_EQ(checkpoint->fingerprint(), expected) << part;
    EXPECT_GT(checkpoint->tokenizer().size(), 0);
  }
  fs::rename(directory / "m-00001-of-00003.gguf", directory / "other.gguf");
  EXPECT_NE(error_of_opening(directory / "other.gguf").find("one part of a model split into 3"), std::string::npos);
  fs::rename(directory / "other.gguf", directory / "m-00001-of-00003.gguf");
  fs::copy_file(directory / "m-00002-of-00003.gguf", directory / "m-00003-of-00003.gguf",
                fs::copy_options::overwrite_existing);
  EXPECT_NE(error_of_opening(directory / "m-00001-of-00003.gguf").find("not its part 3"), std::string::npos);
  fs::remove(directory / "m-00003-of-00003.gguf");
  EXPECT_NE(error_of_opening(directory / "m-00001-of-00003.gguf").find("m-00003-of-00003.gguf is missing"),
            std::string::npos);
}

TEST(CheckpointVariants, FoldersOfTheDownloadCacheAreModels) {
  const TemporaryDirectory directory;
  write_hf({}, directory / "usual");
  const fs::path folder = directory / "models--a--b", snapshot = folder / "snapshots" / "0123abc";
  fs::create_directories(snapshot);
  fs::create_directories(folder / "blobs");
  fs::create_directories(folder / "refs");
  for (const fs::directory_entry& entry : fs::directory_iterator(directory / "usual")) {
    const std::string name = entry.path().filename().string();
    fs::copy_file(entry.path(), folder / "blobs" / ("blob-of-" + name));
    fs::create_symlink(fs::path("../../blobs") / ("blob-of-" + name), snapshot / name);
  }
  const std::string expected = Checkpoint::open(directory / "usual")->fingerprint();
  EXPECT_EQ(Checkpoint::open(snapshot)->fingerprint(), expected);
  EXPECT_EQ(Checkpoint::open(folder)->fingerprint(), expected) << "the only snapshot";
  fs::create_directories(folder / "snapshots" / "4567def");
  EXPECT_NE(error_of_opening(folder).find("2 snapshots"), std::string::npos);
  write_file(folder / "refs" / "main", "0123abc");
  EXPECT_EQ(Checkpoint::open(folder)->fingerprint(), expected);
  EXPECT_GT(open_tokenizer(folder).size(), 0);
}

TEST(CheckpointVariants, EndsOfTurnsAreFoundInTheVocabulary) {
  const TemporaryDirectory directory;
  write_hf({}, directory.path());
  nlohmann::json tokenizer = nlohmann::json::parse(read_file(directory / "tokenizer.json"));
  const int before = static_cast<int>(open_tokenizer(directory.path()).size());
  nlohmann::json added = tokenizer["added_tokens"].back();
  added["id"] = before;
  added["content"] = "<|eot_id|>";
  tokenizer["added_tokens"].push_back(added);
  write_file(directory / "tokenizer.json", tokenizer.dump());
  EXPECT_EQ(open_tokenizer(directory.path()).ends(), (std::vector<int>{hack::testing::tiny_end_id, before}));
}

}  // namespace
}  // namespace hack::model
