#include <algorithm>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "io/mapped_file.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/gguf_checkpoint.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "model/export/leaving_rows.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

/// What a Hugging Face directory may have beside config and weights.
constexpr const char* companions[] = {"generation_config.json",
                                      "tokenizer.json",
                                      "tokenizer_config.json",
                                      "tokenizer.model",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "LICENSE",
                                      "NOTICE"};

const char* torch_name(DType type) {
  return type == DType::f32 ? "float32" : type == DType::f16 ? "float16" : "bfloat16";
}

void write_text(const fs::path& path, const std::string& text) {
  io::OutputFile file(path);
  file.write(text);
  file.finish();
}

void write_json(const fs::path& path, const nlohmann::ordered_json& json) { write_text(path, json.dump(2) + "\n"); }

void copy_whole(const fs::path& from, const fs::path& to) {
  const io::MappedFile source(from);
  io::OutputFile file(to);
  file.write(source.bytes());
  file.finish();
}

/// The directory of a model in the making, new or empty. It is made where it is not there, and goes again where nothing
/// came into it.
class NewDirectory {
 public:
  explicit NewDirectory(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    is_made_ = fs::create_directory(path_, error);
    validate(!error && fs::is_directory(path_), "cannot make the directory {} ({}); make the one above it first",
             path_.string(), error ? error.message() : "something else has that name");
    validate(fs::is_empty(path_), "cannot write a model to {} (it holds files already); name a new directory",
             path_.string());
  }
  ~NewDirectory() {
    std::error_code is_in_use;
    if (is_made_) fs::remove(path_, is_in_use);
  }
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
  bool is_made_ = false;
};

class HfExporter final : public ModelExporter {
 public:
  HfExporter(const ExportSource& source, const fs::path& directory, DType type)
      : source_(source),
        config_(config_of(source, type)),
        directory_(directory),
        writer_(directory_ / "model.safetensors") {
    const GgmlType leaving = *ggml_type_of(codec_of(type));
    for (TensorSpec& spec : llama_tensors(source.checkpoint.config())) {
      const std::vector<index_t> shape =
          spec.is_vector ? std::vector<index_t>{spec.cols} : std::vector<index_t>{spec.rows, spec.cols};
      writer_.add_tensor(spec.name, shape, type);
      tensors_.push_back({std::move(spec), leaving});
    }
  }

  index_t size() const override { return std::ssize(tensors_); }

  void write_next() override {
    const LeavingTensor& tensor = tensors_[next_++];
    read_rows(source_, tensor, [&](std::span<const std::byte> bytes) { writer_.write(bytes); });
    count(tensor.type, tensor.bytes());
  }

  void finish() override {
    writer_.finish();
    if (const auto* gguf = dynamic_cast<const GgufCheckpoint*>(&source_.checkpoint)) {
      write_tokenizer(gguf->file());
    } else {
      for (const char* name : companions) {
        const fs::path from = source_.checkpoint.path() / name;
        if (fs::exists(from)) copy_whole(from, directory_ / name);
      }
    }
    write_json(directory_ / "config.json", config_);
  }

 private:
  /// A directory's own config, in which only the number type is another, or one made of what a GGUF file says.
  static nlohmann::ordered_json config_of(const ExportSource& source, DType type) {
    const fs::path& path = source.checkpoint.path();
    if (!fs::is_directory(path)) {
      nlohmann::ordered_json config = to_hf_config(source.checkpoint.config());
      config["torch_dtype"] = torch_name(type);
      return config;
    }
    nlohmann::ordered_json config = nlohmann::ordered_json::parse(read_json(path / "config.json").dump());
    config[config.contains("dtype") ? "dtype" : "torch_dtype"] = torch_name(type);
    return config;
  }

  void write_tokenizer(const GgufFile& file) {
    TokenizerDescription tokenizer;
    try {
      tokenizer = read_tokenizer_gguf(file);
      const Tokenizer whole_or_an_error(tokenizer);
    } catch (const Error& error) {
      remarks_.push_back(fmt::format("no tokenizer was written: {}", error.what()));
      return;
    }
    write_text(directory_ / "tokenizer.json", tokenizer_json_of(tokenizer).dump() + "\n");
    write_json(directory_ / "tokenizer_config.json", tokenizer_config_of(tokenizer));
    nlohmann::ordered_json generation = nlohmann::ordered_json::object();
    if (tokenizer.bos) generation["bos_token_id"] = *tokenizer.bos;
    if (!source_.checkpoint.config().eos_ids.empty()) generation["eos_token_id"] = source_.checkpoint.config().eos_ids;
    write_json(directory_ / "generation_config.json", generation);
  }

  ExportSource source_;
  nlohmann::ordered_json config_;
  NewDirectory directory_;
  SafetensorsWriter writer_;
  std::vector<LeavingTensor> tensors_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<ModelExporter> export_hf(const ExportSource& source, const fs::path& directory, DType type) {
  return std::make_unique<HfExporter>(source, directory, type);
}

}  // namespace hack::model
