#include "model/tokenizer/open_tokenizer.hpp"

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"

namespace hack::model {

Tokenizer open_tokenizer(const std::filesystem::path& path) {
  validate(std::filesystem::exists(path),
           "{}: no such file or directory; give a Hugging Face directory, a tokenizer.json or a .gguf file",
           path.string());
  if (path.extension() == ".gguf") return Tokenizer::from_gguf(GgufFile(path));
  return Tokenizer::from_json(std::filesystem::is_directory(path) ? path / "tokenizer.json" : path);
}

}  // namespace hack::model
