// What stands beside a tokenizer's own file: tokenizer_config.json and chat_template.jinja.

#include "io/mapped_file.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/tokenizer/tokenizer_json_parts.hpp"

namespace hack::model::tokenizer_json {
namespace {

/// The id of a token, a text or an object with a text, that tokenizer_config.json names under `key`.
std::optional<std::int64_t> named_token(const Json& config, const char* key, const TokenizerDescription& description) {
  const Json& token = member(config, key);
  if (token.is_null()) return std::nullopt;
  const auto text = token.is_object() ? token.at("content").get<std::string>() : token.get<std::string>();
  for (const AddedToken& added : description.added_tokens) {
    if (added.text == text) return added.id;
  }
  for (const auto& [entry, id] : description.vocabulary) {
    if (entry == text) return id;
  }
  return std::nullopt;
}

/// The template of tokenizer_config.json: a text, or the one of several that is called default.
std::string chat_template(const Json& config) {
  const Json& found = member(config, "chat_template");
  if (found.is_string()) return found.get<std::string>();
  if (!found.is_array()) return "";
  for (const Json& named : found) {
    if (named.is_object() && member(named, "name") == "default" && member(named, "template").is_string()) {
      return named.at("template").get<std::string>();
    }
  }
  return "";
}

std::string whole_text(const std::filesystem::path& path) {
  const io::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), static_cast<std::size_t>(file.size())};
}

}  // namespace

Json read_companions(const std::filesystem::path& beside, TokenizerDescription& description) {
  const std::filesystem::path file = beside.parent_path() / "tokenizer_config.json";
  Json config = Json::object();
  try {
    if (std::filesystem::exists(file)) {
      config = read_json(file);
      if (const auto bos = named_token(config, "bos_token", description)) description.bos = bos;
      if (const auto eos = named_token(config, "eos_token", description)) description.eos = eos;
      description.chat_template = chat_template(config);
    }
  } catch (const Json::exception& error) {
    fail("{}: not as a tokenizer's file should be ({}); repair or download it again", file.string(), error.what());
  }
  const std::filesystem::path own_file = beside.parent_path() / "chat_template.jinja";
  if (std::filesystem::exists(own_file)) description.chat_template = whole_text(own_file);
  return config;
}

}  // namespace hack::model::tokenizer_json
