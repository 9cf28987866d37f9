// The steps of tokenizer.json that a text goes through before and after the model.

#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer_json_parts.hpp"

namespace hack::model::tokenizer_json {
namespace {

using Prefix = SpaceRule::Prefix;

class StepReader {
 public:
  explicit StepReader(TokenizerDescription& description) : description_(description) {}

  void read(const Json& root) {
    each_step(member(root, "normalizer"), "normalizers", [&](const Json& step) { read_normalizer(step); });
    expect(description_, spaces().prefix == Prefix::never || spaces().marks, "normalizer", "Prepend without Replace",
           "only both together are");
    const Json& pre_tokenizer = member(root, "pre_tokenizer");
    each_step(pre_tokenizer, "pretokenizers", [&](const Json& step) { read_pre_tokenizer(step); });
    expect(description_, maps_bytes_ || spaces().marks,
           "pre-tokenizer without ByteLevel or Metaspace:", type_of(pre_tokenizer, "without a type"),
           "ByteLevel must be the last");
    description_.alphabet = maps_bytes_ ? Alphabet::bytes : Alphabet::characters;
    each_step(member(root, "decoder"), "decoders", [&](const Json& step) { read_decoder(step); });
  }

 private:
  SpaceRule& spaces() { return description_.spaces; }

  /// Calls read with the steps of a Sequence, or with the one step that there is.
  template <class Read>
  void each_step(const Json& part, const char* steps, Read read) {
    if (part.is_null()) return;
    if (type_of(part, "without a type") != "Sequence") return read(part);
    for (const Json& step : part.at(steps)) each_step(step, steps, read);
  }

  void read_normalizer(const Json& step) {
    const std::string type = type_of(step, "without a type");
    if (type == "NFC") {
      description_.composes = true;
    } else if (type == "Prepend") {
      expect(description_, step.at("prepend") == space_mark, "normalizer", "Prepend of another text", "only U+2581 is");
      spaces().prefix = Prefix::always;
    } else {
      expect(description_, type == "Replace", "normalizer", type, "only NFC, Prepend and Replace are");
      expect(description_, member(step.at("pattern"), "String") == " " && step.at("content") == space_mark,
             "normalizer", "Replace of other texts", "only of a space by U+2581 is");
      spaces().marks = spaces().is_normalizer = true;
    }
  }

  void read_pre_tokenizer(const Json& step) {
    const std::string type = type_of(step, "without a type");
    // What stands behind ByteLevel would see its alphabet in place of the text.
    expect(description_, !maps_bytes_, "pre-tokenizer behind ByteLevel:", type, "ByteLevel must be the last");
    expect(description_, !spaces().marks, "pre-tokenizer where spaces are marked:", type, "only none is");
    if (type == "ByteLevel") {
      expect(description_, !flag(step, "add_prefix_space", true), "pre-tokenizer ByteLevel with", "add_prefix_space",
             "only false is");
      if (flag(step, "use_regex", true)) description_.patterns.emplace_back(byte_level_pattern);
      maps_bytes_ = true;
    } else if (type == "Digits") {
      const bool each = flag(step, "individual_digits", false);
      description_.patterns.push_back(each ? digit_pattern : std::string(digit_pattern) + "+");
    } else if (type == "Metaspace") {
      read_metaspace(step);
    } else {
      read_split(step, type);
    }
  }

  void read_metaspace(const Json& step) {
    expect(description_, description_.patterns.empty(), "pre-tokenizer Metaspace behind", "other steps",
           "only alone is");
    expect(description_, step.at("replacement") == space_mark, "pre-tokenizer Metaspace with another", "replacement",
           "only U+2581 is");
    const char* const otherwise = flag(step, "add_prefix_space", true) ? "always" : "never";
    const std::string scheme = step.value("prepend_scheme", std::string(otherwise));
    expect(description_, scheme == "first" || scheme == "always" || scheme == "never",
           "pre-tokenizer Metaspace with prepend_scheme", scheme, "only first, always and never are");
    spaces().prefix = scheme == "first" ? Prefix::first : scheme == "always" ? Prefix::always : Prefix::never;
    spaces().marks = spaces().keeps_one = true;
    if (flag(step, "split", true)) description_.patterns.emplace_back(marked_word_pattern);
  }

  void read_split(const Json& step, const std::string& type) {
    expect(description_, type == "Split", "pre-tokenizer", type,
           "only Sequence, Split, Digits, ByteLevel and Metaspace are");
    const auto behavior = step.at("behavior").get<std::string>();
    expect(description_, behavior == "Isolated", "pre-tokenizer Split with behavior", behavior, "only Isolated is");
    expect(description_, !flag(step, "invert", false), "pre-tokenizer Split with", "invert", "only without is");
    const Json& pattern = member(step.at("pattern"), "Regex");
    expect(description_, pattern.is_string(), "pre-tokenizer Split with pattern", "of another kind", "only Regex is");
    description_.patterns.push_back(pattern.get<std::string>());
  }

  void read_decoder(const Json& step) {
    const std::string type = type_of(step, "without a type");
    if (description_.alphabet == Alphabet::bytes) {
      expect(description_, type == "ByteLevel", "decoder", type, "only ByteLevel is");
    } else if (type == "Metaspace") {
      spaces().strips_first = spaces().prefix != Prefix::never;
    } else if (type == "Strip") {
      expect(description_, step.at("content") == " " && step.at("start") == 1 && step.at("stop") == 0, "decoder",
             "Strip of something else", "only of one space at the start is");
      spaces().strips_first = true;
    } else {
      const bool is_usual =
          type == "ByteFallback" || type == "Fuse" ||
          (type == "Replace" && member(step.at("pattern"), "String") == space_mark && step.at("content") == " ");
      expect(description_, is_usual, "decoder", type, "only Replace of U+2581, ByteFallback, Fuse and Strip are");
    }
  }

  TokenizerDescription& description_;
  bool maps_bytes_ = false;
};

}  // namespace

void read_text_steps(const Json& root, TokenizerDescription& description) { StepReader(description).read(root); }

}  // namespace hack::model::tokenizer_json
