#pragma once

#include <filesystem>

#include "model/tokenizer/tokenizer.hpp"

namespace hack::model {

/// The tokenizer of a Hugging Face directory (no weights needed), of a tokenizer.json or tokenizer.model, or of a .gguf
/// file.
Tokenizer open_tokenizer(const std::filesystem::path& path);

/// The file of a Hugging Face directory that has its tokenizer: tokenizer.json, else tokenizer.model; an Error where
/// there is neither.
std::filesystem::path tokenizer_file(const std::filesystem::path& directory);

/// What such a file says.
TokenizerDescription read_tokenizer(const std::filesystem::path& file);

}  // namespace hack::model
