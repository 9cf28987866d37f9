#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/dtype.hpp"
#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

class GgufWriter;

/// What read_tokenizer_json() reads: the content of a tokenizer.json, and of the tokenizer_config.json beside it.
nlohmann::ordered_json tokenizer_json_of(const TokenizerDescription& description);
nlohmann::ordered_json tokenizer_config_of(const TokenizerDescription& description);

/// Adds what read_tokenizer_gguf() reads. Ids up to the vocabulary's size that no token has become unused tokens, as
/// llama.cpp wants as many tokens as there are embedded ones. Of `ends`, the ids that end a text, three have a place in
/// the file. Pieces of SentencePiece leave with scores, which merges are turned into. Returns what programs that read
/// such files do in another way, if they do. An Error says which part of the tokenizer GGUF cannot hold: a way to cut
/// words without a name, merges that follow no scores, ids around texts beyond one, tokens that take white space along.
std::optional<std::string> add_tokenizer(GgufWriter& writer, const TokenizerDescription& description,
                                         index_t vocab_size, const std::vector<int>& ends);

}  // namespace hack::model
