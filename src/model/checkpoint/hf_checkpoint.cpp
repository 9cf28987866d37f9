#include "model/checkpoint/hf_checkpoint.hpp"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/json_object.hpp"

namespace hack::model {

namespace fs = std::filesystem;

namespace {

std::optional<GgmlType> stored_type(const std::string& type) {
  if (type == "F32") return GgmlType::f32;
  if (type == "F16") return GgmlType::f16;
  if (type == "BF16") return GgmlType::bf16;
  return {};
}

/// The files in which an index says the tensors are: tensor name to file name.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const nlohmann::json json = read_json(path);
  const JsonObject map = JsonObject(json, path.string()).object("weight_map");
  std::map<std::string, std::string> out;
  for (const auto& [name, file] : json["weight_map"].items()) {
    const std::string shard = map.string(name);
    validate(!shard.empty() && fs::path(shard).filename() == shard && shard != "..",
             "cannot use {} (shard '{}' of tensor '{}' is not the name of a file beside it)", path.string(), shard,
             name);
    out.emplace(name, shard);
  }
  return out;
}

}  // namespace

HfCheckpoint::HfCheckpoint(const fs::path& directory) : Checkpoint(directory), weights_(directory.string()) {
  read_config();
  open_shards();
  weights_.keep_implied(config_);
}

void HfCheckpoint::read_config() {
  const fs::path file = path_ / "config.json";
  validate(fs::exists(file), "cannot use {} (it has no config.json) give a Hugging Face directory or a .gguf file",
           path_.string());
  config_ = llama_config_from_hf(JsonObject(read_json(file), file.string()));
  const fs::path generation = path_ / "generation_config.json";
  if (!fs::exists(generation)) return;
  const nlohmann::json json = read_json(generation);
  const JsonObject object(json, generation.string());
  if (object.find("eos_token_id") == nullptr) return;
  config_.eos_ids.clear();
  for (const std::int64_t id : object.integers("eos_token_id")) {
    validate(id >= 0 && id < config_.vocab_size, "cannot use {} (eos_token_id {} is outside the vocabulary of {})",
             generation.string(), id, config_.vocab_size);
    config_.eos_ids.push_back(static_cast<int>(id));
  }
}

void HfCheckpoint::open_shards() {
  const fs::path single = path_ / "model.safetensors";
  const fs::path index = path_ / "model.safetensors.index.json";
  if (fs::exists(single)) {
    const auto& file = *shards_.emplace_back(std::make_unique<SafetensorsFile>(single));
    for (const auto& [name, entry] : file.entries()) add_weights(file, name);
    return;
  }
  validate(fs::exists(index),
           "cannot use {} (it has neither model.safetensors nor model.safetensors.index.json) weights in other formats "
           "have to be saved as safetensors first",
           path_.string());
  std::map<std::string, const SafetensorsFile*> opened;
  for (const auto& [name, shard] : read_index(index)) {
    const SafetensorsFile*& file = opened[shard];
    if (file == nullptr) {
      validate(fs::exists(path_ / shard),
               "{} is incomplete (shard {}, which holds tensor '{}', is missing) fetch it again", path_.string(), shard,
               name);
      file = shards_.emplace_back(std::make_unique<SafetensorsFile>(path_ / shard)).get();
    }
    add_weights(*file, name);
  }
}

void HfCheckpoint::add_weights(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry* entry = file.find(name);
  validate(entry != nullptr, "{} is damaged (it has no tensor '{}', which the index says it holds)", file.path(), name);
  const std::optional<GgmlType> type = stored_type(entry->type);
  if (!type) {
    weights_.add_unreadable(name, "it is of type " + entry->type + "; F32, F16 and BF16 are supported");
  } else if (entry->shape.empty()) {
    weights_.add_unreadable(name, "it is a single number");
  } else {
    weights_.add(name, {&file.file(), *type, entry->offset, entry->shape, 0});
  }
}

Tokenizer HfCheckpoint::tokenizer() const {
  const fs::path file = path_ / "tokenizer.json";
  validate(fs::exists(file), "cannot use the tokenizer of {} (it has no tokenizer.json) save it with the model",
           path_.string());
  return Tokenizer::from_json(file);
}

}  // namespace hack::model
