// Tokenizer::from_model: a tokenizer.model of SentencePiece, read into a TokenizerDescription. Numbers of fields are
// those of sentencepiece_model.proto.

#include <bit>
#include <utility>

#include "io/mapped_file.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "model/tokenizer/tokenizer_json_parts.hpp"
#include "model/tokenizer/tokenizer_scheme.hpp"
#include "model/tokenizer/wire_reader.hpp"

namespace hack::model {
namespace {

/// What the file says of its training and of the texts it was trained on.
struct PieceModel {
  std::uint64_t kind = 1;  // unigram, BPE, word, char
  bool byte_fallback = false;
  std::int64_t unknown = 0, bos = 1, eos = 2;
  bool has_character_map = false;
  bool adds_prefix = true;
  bool removes_spaces = true;
  bool marks_spaces = true;
};

/// Numbers below zero are written as the 64 bits of their complement.
std::int64_t signed_id(std::uint64_t bits) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(bits)); }

void read_trainer(std::string_view message, std::string_view source, PieceModel& model) {
  WireReader reader(message, source);
  while (const auto field = reader.next()) {
    if (field->number == 3) model.kind = field->whole;
    if (field->number == 35) model.byte_fallback = field->whole != 0;
    if (field->number == 40) model.unknown = signed_id(field->whole);
    if (field->number == 41) model.bos = signed_id(field->whole);
    if (field->number == 42) model.eos = signed_id(field->whole);
  }
}

void read_normalizer(std::string_view message, std::string_view source, PieceModel& model) {
  WireReader reader(message, source);
  while (const auto field = reader.next()) {
    if (field->number == 2) model.has_character_map = field->bytes && !field->bytes->empty();
    if (field->number == 3) model.adds_prefix = field->whole != 0;
    if (field->number == 4) model.removes_spaces = field->whole != 0;
    if (field->number == 5) model.marks_spaces = field->whole != 0;
  }
}

void read_piece(std::string_view message, std::string_view source, TokenizerDescription& description) {
  std::string text;
  float score = 0;
  std::uint64_t type = TokenType::normal;
  WireReader reader(message, source);
  while (const auto field = reader.next()) {
    if (field->number == 1) text = field->bytes.value_or("");
    if (field->number == 2) score = std::bit_cast<float>(static_cast<std::uint32_t>(field->whole));
    if (field->number == 3) type = field->whole;
  }
  const auto id = static_cast<std::int64_t>(description.vocabulary.size());
  if (type == TokenType::control || type == TokenType::unknown) {
    description.added_tokens.push_back({.text = text, .id = id, .special = true});
  } else if (type == TokenType::user_defined) {
    description.added_tokens.push_back({.text = text, .id = id, .normalized = true, .normal_form = text});
  }
  description.vocabulary.emplace_back(std::move(text), id);
  description.scores.push_back(type == TokenType::normal ? score : TokenizerDescription::never_merged);
}

PieceModel read_file(std::string_view bytes, TokenizerDescription& description) {
  PieceModel model;
  WireReader reader(bytes, description.source);
  while (const auto field = reader.next()) {
    if (!field->bytes) continue;
    if (field->number == 1) read_piece(*field->bytes, description.source, description);
    if (field->number == 2) read_trainer(*field->bytes, description.source, model);
    if (field->number == 3) read_normalizer(*field->bytes, description.source, model);
  }
  return model;
}

void check_kind(const PieceModel& model, const std::string& source) {
  constexpr const char* names[] = {"of kind 0", "Unigram", "BPE", "word", "char"};
  validate(model.kind == 2, "{}: a SentencePiece model {} is not supported (only BPE is); use another model", source,
           names[model.kind < std::size(names) ? model.kind : 0]);
  const char* const what = model.has_character_map ? "a table that replaces characters"
                           : model.removes_spaces  ? "remove_extra_whitespaces"
                           : !model.marks_spaces   ? "spaces that are not marked"
                                                   : nullptr;
  validate(what == nullptr,
           "{}: a SentencePiece model with {} is not supported (only texts as they are); use the model's "
           "tokenizer.json or another model",
           source, what == nullptr ? "" : what);
}

/// Adds a token that stands in a file beside, unless the vocabulary or an earlier one has it.
void add_token(TokenizerDescription& description, AddedToken token) {
  for (AddedToken& known : description.added_tokens) {
    if (known.id == token.id) {
      known = std::move(token);
      return;
    }
  }
  description.added_tokens.push_back(std::move(token));
}

/// Tokens that transformers added: added_tokens.json, and added_tokens_decoder of tokenizer_config.json.
void read_added_tokens(const std::filesystem::path& beside, const nlohmann::json& config,
                       TokenizerDescription& description) {
  using namespace tokenizer_json;
  const std::filesystem::path own_file = beside.parent_path() / "added_tokens.json";
  if (std::filesystem::exists(own_file)) {
    const Json added = read_json(own_file);
    for (const auto& [text, id] : added.items()) add_token(description, {.text = text, .id = integer(id)});
  }
  for (const auto& [id, token] : member(config, "added_tokens_decoder").items()) {
    AddedToken added{.text = token.at("content").get<std::string>(), .id = std::stoll(id)};
    added.strips_left = flag(token, "lstrip", false);
    added.strips_right = flag(token, "rstrip", false);
    added.special = flag(token, "special", false);
    add_token(description, std::move(added));
  }
}

}  // namespace

TokenizerDescription read_tokenizer_model(const std::filesystem::path& tokenizer_model) {
  const io::MappedFile file(tokenizer_model);
  TokenizerDescription description;
  description.source = tokenizer_model.string();
  description.alphabet = Alphabet::characters;
  const PieceModel model = read_file(
      {reinterpret_cast<const char*>(file.bytes().data()), static_cast<std::size_t>(file.size())}, description);
  check_kind(model, description.source);
  description.byte_fallback = model.byte_fallback;
  description.fuse_unknown = true;
  const auto has = [&](std::int64_t id) { return id >= 0 && id < std::ssize(description.vocabulary); };
  if (has(model.unknown)) description.unknown_token = description.vocabulary[model.unknown].first;
  if (has(model.bos)) description.bos = model.bos;
  if (has(model.eos)) description.eos = model.eos;

  const nlohmann::json config = tokenizer_json::read_companions(tokenizer_model, description);
  try {
    using namespace tokenizer_json;
    read_added_tokens(tokenizer_model, config, description);
    // As transformers converts such files: its first version put the mark in front of every piece.
    const bool is_legacy = flag(config, "legacy", true);
    SpaceRule& spaces = description.spaces;
    spaces.marks = true;
    spaces.strips_first = model.adds_prefix;
    spaces.is_normalizer = true;
    if (model.adds_prefix) spaces.prefix = is_legacy ? SpaceRule::Prefix::always : SpaceRule::Prefix::first;
    if (flag(config, "add_bos_token", true) && description.bos) description.prefix = {*description.bos};
    if (flag(config, "add_eos_token", false) && description.eos) description.suffix = {*description.eos};
  } catch (const std::exception& error) {
    fail("{}: not as a tokenizer's files should be ({}); repair or download them again", description.source,
         error.what());
  }
  return description;
}

Tokenizer Tokenizer::from_model(const std::filesystem::path& tokenizer_model) {
  return Tokenizer(read_tokenizer_model(tokenizer_model));
}

}  // namespace hack::model
