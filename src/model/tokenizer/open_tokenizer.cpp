#include "model/tokenizer/open_tokenizer.hpp"

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/hf_cache.hpp"

namespace hack::model {

Tokenizer open_tokenizer(const std::filesystem::path& path) {
  validate(std::filesystem::exists(path),
           "{}: no such file or directory; give a Hugging Face directory, a tokenizer.json, a tokenizer.model or a "
           ".gguf file",
           path.string());
  if (path.extension() == ".gguf") return Tokenizer::from_gguf(GgufFile(path));
  return Tokenizer(read_tokenizer(std::filesystem::is_directory(path) ? tokenizer_file(model_directory(path)) : path));
}

std::filesystem::path tokenizer_file(const std::filesystem::path& directory) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (std::filesystem::exists(directory / name)) return directory / name;
  }
  fail(
      "cannot use the tokenizer of {} (it has neither tokenizer.json nor tokenizer.model) save the tokenizer with the "
      "model",
      directory.string());
}

TokenizerDescription read_tokenizer(const std::filesystem::path& file) {
  return file.extension() == ".model" ? read_tokenizer_model(file) : read_tokenizer_json(file);
}

}  // namespace hack::model
