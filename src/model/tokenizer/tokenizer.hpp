#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"
#include "model/tokenizer/added_tokens.hpp"
#include "model/tokenizer/byte_pair_encoder.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

class GgufFile;

/// Whether the ids that the tokenizer's template puts around a text (BOS, in some files EOS too) are put.
enum class AddSpecial { no, yes };

/// BPE as Hugging Face tokenizers does it: of bytes, for the tokenizers of Llama-3, Qwen, SmolLM2 and GPT-2, and of
/// characters as SentencePiece does it, for those of Llama-2 and Mistral. Added tokens written out in the text are
/// tokens, whatever AddSpecial says. Immutable: threads may share one.
class Tokenizer {
 public:
  /// Reads a Hugging Face tokenizer.json, and eos_token from the tokenizer_config.json beside it if there is one. An
  /// Error names the file and what in it is damaged or of a kind that is not known.
  static Tokenizer from_json(const std::filesystem::path& tokenizer_json);

  /// Reads a tokenizer.model of SentencePiece, and what stands beside it.
  static Tokenizer from_model(const std::filesystem::path& tokenizer_model);

  /// Reads the metadata tokenizer.ggml.*. Words are cut as llama.cpp does for the tokenizer.ggml.pre smollm, llama-bpe
  /// (llama3, llama-v3), gpt-2 and default; a file without that key counts as default. BOS is put where add_bos_token
  /// says so, by default only for llama-bpe; EOS where add_eos_token does.
  static Tokenizer from_gguf(const GgufFile& file);

  /// Checks everything a description says: ids, merges, patterns.
  explicit Tokenizer(const TokenizerDescription& description);

  /// The ids of a text. An Error with the byte offset if it is not UTF-8.
  std::vector<int> encode(std::string_view utf8, AddSpecial add_special) const;

  /// The bytes that ids stand for, one after another, special tokens written out, without the space that encode() put
  /// in front; cut anywhere, they need not be UTF-8. An Error if an id is not in [0, size()).
  std::string decode(std::span<const int> ids) const;

  /// The bytes one id stands for; empty for an id below size() that no token has.
  std::string_view text(int id) const;

  /// One more than the largest id.
  index_t size() const { return static_cast<index_t>(bytes_.size()); }

  /// The first id put before a text; none if the tokenizer puts nothing there.
  std::optional<int> bos() const;

  /// The id that stands before a text where one has to: the one that begins texts by the file's word, whether it is put
  /// there or not; bos() or eos() where the file names none.
  std::optional<int> start() const;

  /// Every id that ends a text or a turn of a conversation: eos(), and the tokens of the vocabulary that families of
  /// models have for it ("<|eot_id|>", "<|im_end|>", …), whatever the files name.
  std::vector<int> ends() const;

  /// The chat template of the files (Jinja); empty where they have none.
  const std::string& chat_template() const { return chat_template_; }

  /// The tokens that begin and end a text by the file's word, as chat templates print them; empty where there is none.
  std::string bos_text() const { return named_bos_ ? std::string(text(*named_bos_)) : ""; }
  std::string eos_text() const { return eos_ ? std::string(text(*eos_)) : ""; }

  /// The id that ends a text by the file's word, if it has one.
  std::optional<int> eos() const { return eos_; }

 private:
  class Encoding;

  /// Adds the ids of a piece that lies between added tokens.
  void add_piece(std::string_view piece, bool at_start, Encoding& encoding) const;

  std::vector<std::string> bytes_;  // id → bytes
  std::vector<int> prefix_;
  std::vector<int> suffix_;
  std::optional<int> named_bos_;
  std::optional<int> eos_;
  std::string chat_template_;
  AddedTokens raw_tokens_;
  AddedTokens normalized_tokens_;
  bool composes_;
  SpaceRule spaces_;
  PreTokenizer pre_tokenizer_;
  BytePairEncoder encoder_;
};

}  // namespace hack::model
