#include "model/export/hf_directory.hpp"

#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "io/mapped_file.hpp"
#include "io/output_file.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/gguf_checkpoint.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

/// What a Hugging Face directory may have beside config and weights.
constexpr const char* companions[] = {"generation_config.json",
                                      "tokenizer.json",
                                      "tokenizer_config.json",
                                      "tokenizer.model",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "LICENSE",
                                      "NOTICE"};

const char* torch_name(DType type) {
  return type == DType::f32 ? "float32" : type == DType::f16 ? "float16" : "bfloat16";
}

void copy_whole(const fs::path& from, const fs::path& to) {
  const io::MappedFile source(from);
  io::OutputFile file(to);
  file.write(source.bytes());
  file.finish();
}

}  // namespace

HfDirectory::HfDirectory(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  is_made_ = fs::create_directory(path_, error);
  validate(!error && fs::is_directory(path_), "cannot make the directory {} ({}); make the one above it first",
           path_.string(), error ? error.message() : "something else has that name");
  validate(fs::is_empty(path_), "cannot write a model to {} (it holds files already); name a new directory",
           path_.string());
}

HfDirectory::~HfDirectory() {
  std::error_code ignored;
  for (const fs::path& file : written_) fs::remove(file, ignored);
  if (is_made_) fs::remove(path_, ignored);  // not where there is anything in it
}

fs::path HfDirectory::add(const char* name) { return written_.emplace_back(path_ / name); }

void HfDirectory::finish(const nlohmann::ordered_json& config) {
  write_json("config.json", config);
  written_.clear();
}

void HfDirectory::write_text(const char* name, std::string_view text) {
  io::OutputFile file(add(name));
  file.write(text);
  file.finish();
}

void HfDirectory::write_json(const char* name, const nlohmann::ordered_json& json) {
  write_text(name, json.dump(2) + "\n");
}

void HfDirectory::write_companions(const Checkpoint& checkpoint, std::vector<std::string>& remarks) {
  if (const auto* gguf = dynamic_cast<const GgufCheckpoint*>(&checkpoint)) {
    write_tokenizer(gguf->file(), checkpoint.config().eos_ids, remarks);
    return;
  }
  for (const char* name : companions) {
    const fs::path from = checkpoint.path() / name;
    if (fs::exists(from)) copy_whole(from, add(name));
  }
}

void HfDirectory::write_tokenizer(const GgufFile& file, const std::vector<int>& eos_ids,
                                  std::vector<std::string>& remarks) {
  TokenizerDescription tokenizer;
  try {
    tokenizer = read_tokenizer_gguf(file);
    const Tokenizer whole_or_an_error(tokenizer);
  } catch (const Error& error) {
    remarks.push_back(fmt::format("no tokenizer was written: {}", error.what()));
    return;
  }
  write_text("tokenizer.json", tokenizer_json_of(tokenizer).dump() + "\n");
  write_json("tokenizer_config.json", tokenizer_config_of(tokenizer));
  nlohmann::ordered_json generation = nlohmann::ordered_json::object();
  if (tokenizer.bos) generation["bos_token_id"] = *tokenizer.bos;
  if (!eos_ids.empty()) generation["eos_token_id"] = eos_ids;
  write_json("generation_config.json", generation);
}

nlohmann::ordered_json hf_config_of(const Checkpoint& checkpoint, DType type) {
  const fs::path& path = checkpoint.path();
  if (!fs::is_directory(path)) {
    nlohmann::ordered_json config = to_hf_config(checkpoint.config());
    config["torch_dtype"] = torch_name(type);
    return config;
  }
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(read_json(path / "config.json").dump());
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = torch_name(type);
  return config;
}

}  // namespace hack::model
