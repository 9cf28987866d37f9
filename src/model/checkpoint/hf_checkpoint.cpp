#include "model/checkpoint/hf_checkpoint.hpp"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/layer_tensors.hpp"
#include "model/tokenizer/open_tokenizer.hpp"

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
  warnings_ = config_.warnings;
  warn_of_unused(weights_.keep_implied(config_));
}

void HfCheckpoint::read_config() {
  const fs::path file = path_ / "config.json";
  validate(fs::exists(file), "cannot use {} (it has no config.json); give a Hugging Face directory or a .gguf file",
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
    std::vector<std::string> names;
    for (const auto& [name, entry] : file.entries()) names.push_back(name);
    find_prefix(names);
    for (const std::string& name : names) add_weights(file, name);
    return;
  }
  validate(fs::exists(index),
           "cannot use {} (it has neither model.safetensors nor model.safetensors.index.json) weights in other formats "
           "have to be saved as safetensors first",
           path_.string());
  std::map<std::string, const SafetensorsFile*> opened;
  const std::map<std::string, std::string> shard_of = read_index(index);
  std::vector<std::string> names;
  names.reserve(shard_of.size());
  for (const auto& [name, shard] : shard_of) names.push_back(name);
  find_prefix(names);
  for (const auto& [name, shard] : shard_of) {
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

void HfCheckpoint::find_prefix(const std::vector<std::string>& names) {
  const std::string_view embedding = embedding_tensor.name.substr(usual_prefix.size());
  for (const std::string& name : names) {
    if (name.ends_with(embedding)) prefix_ = name.substr(0, name.size() - embedding.size());
  }
}

void HfCheckpoint::warn_of_unused(const std::vector<std::string>& names) {
  constexpr std::size_t most = 3;
  std::string listed;
  std::size_t count = 0;
  for (const std::string& name : names) {
    // Frequencies follow from the config; a tied head is the embedding table once more.
    if (name.ends_with("rotary_emb.inv_freq") || name == head_tensor.name) continue;
    if (++count > most) continue;
    if (count > 1) listed += ", ";
    listed += name;
  }
  if (count == 0) return;
  warnings_.push_back(
      fmt::format("{} holds {} tensors that its config.json does not ask for and that are not used: "
                  "{}{}; biases need attention_bias or mlp_bias there",
                  path_.string(), count, listed, count > most ? ", …" : ""));
}

void HfCheckpoint::add_weights(const SafetensorsFile& file, const std::string& stored_name) {
  const bool is_head = stored_name.ends_with(head_tensor.name);
  const std::string name = is_head ? std::string(head_tensor.name)
                           : stored_name.starts_with(prefix_)
                               ? std::string(usual_prefix) + stored_name.substr(prefix_.size())
                               : stored_name;
  const SafetensorsEntry* entry = file.find(stored_name);
  validate(entry != nullptr, "{} is damaged (it has no tensor '{}', which the index says it holds)", file.path(),
           stored_name);
  const std::optional<GgmlType> type = stored_type(entry->type);
  if (!type) {
    weights_.add_unreadable(name, "it is of type " + entry->type + "; F32, F16 and BF16 are supported");
  } else if (entry->shape.empty()) {
    weights_.add_unreadable(name, "it is a single number");
  } else {
    weights_.add(name, {&file.file(), *type, entry->offset, entry->shape, 0});
  }
}

Tokenizer HfCheckpoint::tokenizer() const { return open_tokenizer(path_); }

}  // namespace hack::model
