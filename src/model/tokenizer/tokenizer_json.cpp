// Tokenizer::from_json: tokenizer.json of Hugging Face, read into a TokenizerDescription.

#include <cstdint>
#include <utility>

#include "model/checkpoint/json_object.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "model/tokenizer/tokenizer_json_parts.hpp"
#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

using namespace tokenizer_json;

/// Moves what tokenizer.json says into a TokenizerDescription, part by part.
class Reader {
 public:
  explicit Reader(std::string source) { description_.source = std::move(source); }

  TokenizerDescription read(const Json& root) {
    // The model says what it is before its surroundings are judged.
    const std::string type = type_of(root.at("model"), "BPE");
    expect(type == "BPE", "model", type, "only BPE is");
    read_text_steps(root, description_);
    read_model(root.at("model"));
    for (const Json& token : member(root, "added_tokens")) read_added_token(token);
    read_post_processor(member(root, "post_processor"));
    return std::move(description_);
  }

 private:
  void expect(bool holds, std::string_view part, std::string_view found, std::string_view known) const {
    tokenizer_json::expect(description_, holds, part, found, known);
  }

  void read_model(const Json& model) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& affix = member(model, key);
      expect(affix.is_null() || affix == "", "model with a", key, "only BPE without affixes is");
    }
    const bool is_of_bytes = description_.alphabet == Alphabet::bytes;
    description_.byte_fallback = flag(model, "byte_fallback", false);
    expect(!is_of_bytes || !description_.byte_fallback, "model with", "byte_fallback",
           "with ByteLevel only models without it are");
    const Json& dropout = member(model, "dropout");
    expect(dropout.is_null() || dropout == 0.0, "model with", "dropout", "only the same ids every time are");
    const Json& unknown = member(model, "unk_token");
    if (!unknown.is_null() && unknown != "") description_.unknown_token = unknown.get<std::string>();
    description_.fuse_unknown = flag(model, "fuse_unk", false);
    expect(!is_of_bytes || !description_.unknown_token || !description_.fuse_unknown, "model with unk_token and",
           "fuse_unk", "with ByteLevel one unknown token a byte is");
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
    if (added.normalized) added.normal_form = normal_form(added.text);
    description_.added_tokens.push_back(std::move(added));
  }

  /// What the normalizer makes of an added token's text.
  std::string normal_form(const std::string& text) const {
    const std::string plain = description_.composes ? composed(text) : text;
    return description_.spaces.is_normalizer ? with_marked_spaces(plain, description_.spaces, true) : plain;
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

}  // namespace

TokenizerDescription read_tokenizer_json(const std::filesystem::path& tokenizer_json) {
  try {
    TokenizerDescription description = Reader(tokenizer_json.string()).read(read_json(tokenizer_json));
    read_companions(tokenizer_json, description);
    return description;
  } catch (const Json::exception& error) {
    fail("{}: not as a tokenizer's file should be ({}); repair or download it again", tokenizer_json.string(),
         error.what());
  }
}

Tokenizer Tokenizer::from_json(const std::filesystem::path& tokenizer_json) {
  return Tokenizer(read_tokenizer_json(tokenizer_json));
}

}  // namespace hack::model
