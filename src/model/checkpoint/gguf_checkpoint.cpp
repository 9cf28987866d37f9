#include "model/checkpoint/gguf_checkpoint.hpp"

#include <string>
#include <utility>

#include <fmt/core.h>

#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/llama_tensors.hpp"

namespace hack::model {

namespace {

StoredWeight stored(const GgufFile& file, const GgufTensor& tensor, index_t interleaved_head) {
  return {
      &file.file_of(tensor), tensor.type, tensor.offset, {tensor.dims.rbegin(), tensor.dims.rend()}, interleaved_head};
}

}  // namespace

GgufCheckpoint::GgufCheckpoint(const std::filesystem::path& path)
    : Checkpoint(path), file_(path), weights_(path.string()) {
  config_ = llama_config_from_gguf(file_);
  const index_t paired = architecture_of(file_).pairs_rows ? config_.head_dim : 0;
  for (const TensorSpec& spec : llama_tensors(config_)) {
    const GgufTensor* tensor = file_.find_tensor(spec.gguf_name);
    if (tensor == nullptr) continue;  // keep_implied() says what is missing
    StoredWeight weight = stored(file_, *tensor, spec.turns_in_gguf ? paired : 0);
    if (tensor->unknown_type) {
      const std::string type = ggml_type_name(*tensor->unknown_type);
      weights_.add_unreadable(spec.name,
                              fmt::format("it is in {}; formats that are read: {}", type, known_ggml_types()),
                              std::move(weight), type);
    } else {
      weights_.add(spec.name, std::move(weight));
    }
  }
  weights_.keep_implied(config_);
}

}  // namespace hack::model
