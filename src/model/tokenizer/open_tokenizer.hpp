#pragma once

#include <filesystem>

#include "model/tokenizer/tokenizer.hpp"

namespace hack::model {

/// The tokenizer of a Hugging Face directory (no weights needed), of a tokenizer.json, or of a .gguf file.
Tokenizer open_tokenizer(const std::filesystem::path& path);

}  // namespace hack::model
