// Tokenizer::from_json: tokenizer.json of Hugging Face, read into a TokenizerDescription.

#include <cstdint>
#include <utility>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "io/mapped_file.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::model {
namespace {

using Json = nlohmann::json;

/// The member `key` of an object; null if it is not there.
const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

bool flag(const Json& object, const char* key, bool otherwise) {
  const Json& value = member(object, key);
  return value.is_null() ? otherwise : value.get<bool>();
}

/// An id, -1 for what cannot be one (which Tokenizer then names with its token): get<> alone would turn 1.5 into 1.
std::int64_t integer(const Json& value) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX)) return -1;
  return value.get<std::int64_t>();
}

std::string type_of(const Json& object, const char* otherwise) {
  return object.is_null() ? "null" : object.value("type", std::string(otherwise));
}

/// Moves what tokenizer.json says into a TokenizerDescription, part by part.
class Reader {
 public:
  explicit Reader(std::string source) { description_.source = std::move(source); }

  TokenizerDescription read(const Json& root) {
    const Json& normalizer = member(root, "normalizer");
    expect(normalizer.is_null(), "normalizer", type_of(normalizer, "without a type"), "only none is");
    read_model(root.at("model"));
    for (const Json& token : member(root, "added_tokens")) read_added_token(token);
    read_pre_tokenizer(member(root, "pre_tokenizer"));
    read_post_processor(member(root, "post_processor"));
    const std::string decoder = type_of(member(root, "decoder"), "without a type");
    expect(decoder == "ByteLevel" || decoder == "null", "decoder", decoder, "only ByteLevel is");
    return std::move(description_);
  }

 private:
  void expect(bool holds, std::string_view part, std::string_view found, std::string_view known) const {
    validate(holds, "{}: {} {} is not supported ({}); use a byte-level BPE tokenizer as of Llama-3, SmolLM2 or GPT-2",
             description_.source, part, found, known);
  }

  void read_model(const Json& model) {
    const std::string type = type_of(model, "BPE");
    expect(type == "BPE", "model", type, "only BPE is");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& affix = member(model, key);
      expect(affix.is_null() || affix == "", "model with a", key, "only byte-level BPE without affixes is");
    }
    expect(!flag(model, "byte_fallback", false), "model with", "byte_fallback", "only byte-level BPE without it is");
    const Json& dropout = member(model, "dropout");
    expect(dropout.is_null() || dropout == 0.0, "model with", "dropout", "only the same ids every time are");
    const Json& unknown = member(model, "unk_token");
    if (!unknown.is_null() && unknown != "") description_.unknown_token = unknown.get<std::string>();
    expect(!description_.unknown_token || !flag(model, "fuse_unk", false), "model with unk_token and", "fuse_unk",
           "one unknown token a byte is");
    description_.ignore_merges = flag(model, "ignore_merges", false);

    for (const auto& [text, id] : model.at("vocab").get_ref<const Json::object_t&>()) {
      description_.vocabulary.emplace_back(text, integer(id));
    }
    for (const Json& merge : model.at("merges").get_ref<const Json::array_t&>()) read_merge(merge);
  }

  void read_merge(const Json& merge) {
    std::string left, right;
    if (merge.is_array()) {
      validate(merge.size() == 2, "{}: merge {} has {} tokens (it must be a pair); repair the file",
               description_.source, description_.merges.size(), merge.size());
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else {
      const auto& text = merge.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      validate(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
               "{}: merge '{}' is not two tokens with a space between; repair the file", description_.source, text);
      left = text.substr(0, space);
      right = text.substr(space + 1);
    }
    description_.merges.emplace_back(std::move(left), std::move(right));
  }

  void read_added_token(const Json& token) {
    AddedToken added{token.at("content").get<std::string>(), integer(token.at("id"))};
    expect(!flag(token, "single_word", false), "added token with single_word:", added.text, "tokens inside words are");
    added.strips_left = flag(token, "lstrip", false);
    added.strips_right = flag(token, "rstrip", false);
    added.special = flag(token, "special", false);
    added.normalized = flag(token, "normalized", !added.special);
    description_.added_tokens.push_back(std::move(added));
  }

  void read_pre_tokenizer(const Json& pre_tokenizer) {
    const std::string type = type_of(pre_tokenizer, "without a type");
    bool maps_bytes = false;
    const auto read_one = [&](const Json& step) {
      // What stands behind ByteLevel would see its alphabet in place of the text.
      expect(!maps_bytes, "pre-tokenizer behind ByteLevel:", type_of(step, "without a type"),
             "ByteLevel must be the last");
      maps_bytes = read_step(step);
    };
    if (type == "Sequence") {
      for (const Json& step : pre_tokenizer.at("pretokenizers")) read_one(step);
    } else {
      read_one(pre_tokenizer);
    }
    expect(maps_bytes, "pre-tokenizer without ByteLevel:", type, "ByteLevel must be the last");
  }

  /// Returns whether the step is the one that maps bytes.
  bool read_step(const Json& step) {
    const std::string type = type_of(step, "without a type");
    if (type == "ByteLevel") {
      expect(!flag(step, "add_prefix_space", true), "pre-tokenizer ByteLevel with", "add_prefix_space",
             "only false is");
      if (flag(step, "use_regex", true)) description_.patterns.emplace_back(byte_level_pattern);
      return true;
    }
    if (type == "Digits") {
      const bool each = flag(step, "individual_digits", false);
      description_.patterns.push_back(each ? digit_pattern : std::string(digit_pattern) + "+");
      return false;
    }
    expect(type == "Split", "pre-tokenizer", type, "only Sequence, Split, Digits and ByteLevel are");
    const auto behavior = step.at("behavior").get<std::string>();
    expect(behavior == "Isolated", "pre-tokenizer Split with behavior", behavior, "only Isolated is");
    const Json& pattern = member(step.at("pattern"), "Regex");
    expect(pattern.is_string(), "pre-tokenizer Split with pattern", "of another kind", "only Regex is");
    description_.patterns.push_back(pattern.get<std::string>());
    return false;
  }

  void read_post_processor(const Json& processor) {
    if (type_of(processor, "without a type") == "Sequence") {
      for (const Json& step : processor.at("processors")) read_processor_step(step);
    } else {
      read_processor_step(processor);
    }
  }

  void read_processor_step(const Json& step) {
    const std::string type = type_of(step, "without a type");
    if (type == "null" || type == "ByteLevel") return;  // ByteLevel changes offsets, which nobody asks for
    expect(type == "TemplateProcessing", "post-processor", type, "only Sequence, ByteLevel and TemplateProcessing are");
    bool text_seen = false;
    // A second template surrounds what the first one made.
    std::vector<std::int64_t> before;
    for (const Json& piece : step.at("single")) {
      if (const Json& special = member(piece, "SpecialToken"); !special.is_null()) {
        const Json& ids = step.at("special_tokens").at(special.at("id").get<std::string>()).at("ids");
        auto& side = text_seen ? description_.suffix : before;
        for (const Json& id : ids) side.push_back(integer(id));
      } else {
        const Json& text = member(piece, "Sequence");
        expect(!text_seen && text.is_object() && member(text, "id") == "A", "template piece", "of another kind",
               "only special tokens around one text A are");
        text_seen = true;
      }
    }
    expect(text_seen, "template", "without the text A", "only special tokens around one text A are");
    description_.prefix.insert(description_.prefix.begin(), before.begin(), before.end());
  }

  TokenizerDescription description_;
};

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

TokenizerDescription read_tokenizer_json(const std::filesystem::path& tokenizer_json) {
  std::filesystem::path path = tokenizer_json;
  try {
    TokenizerDescription description = Reader(path.string()).read(read_json(path));
    path.replace_filename("tokenizer_config.json");
    if (std::filesystem::exists(path)) {
      const Json config = read_json(path);
      description.bos = named_token(config, "bos_token", description);
      description.eos = named_token(config, "eos_token", description);
      description.chat_template = chat_template(config);
    }
    const std::filesystem::path own_file = path.parent_path() / "chat_template.jinja";
    if (std::filesystem::exists(own_file)) description.chat_template = whole_text(own_file);
    return description;
  } catch (const Json::exception& error) {
    fail("{}: not as a tokenizer's file should be ({}); repair or download it again", path.string(), error.what());
  }
}

Tokenizer Tokenizer::from_json(const std::filesystem::path& tokenizer_json) {
  return Tokenizer(read_tokenizer_json(tokenizer_json));
}

}  // namespace hack::model
