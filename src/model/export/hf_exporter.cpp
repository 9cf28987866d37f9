#include <utility>

#include <nlohmann/json.hpp>

#include "model/checkpoint/safetensors_writer.hpp"
#include "model/export/hf_directory.hpp"
#include "model/export/leaving_rows.hpp"

namespace hack::model {
namespace {

class HfExporter final : public ModelExporter {
 public:
  HfExporter(const ExportSource& source, const std::filesystem::path& directory, DType type)
      : source_(source),
        config_(hf_config_of(source.checkpoint, type)),
        directory_(directory),
        writer_(directory_.add("model.safetensors")) {
    for (TensorSpec& spec : llama_tensors(source.checkpoint.config())) {
      writer_.add_tensor(spec.name, shape_of(spec), type);
      tensors_.push_back({std::move(spec), *ggml_type_of(codec_of(type))});
    }
  }

  index_t size() const override { return std::ssize(tensors_); }

  void write_next() override {
    const LeavingTensor& tensor = tensors_[next_++];
    read_rows(source_, tensor, [&](std::span<const std::byte> bytes) { writer_.write(bytes); });
    count(to_string(tensor.type), tensor.bytes());
  }

  void finish() override {
    writer_.finish();
    directory_.write_companions(source_.checkpoint, remarks_);
    directory_.finish(config_);
  }

 private:
  ExportSource source_;
  nlohmann::ordered_json config_;
  HfDirectory directory_;
  SafetensorsWriter writer_;
  std::vector<LeavingTensor> tensors_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<ModelExporter> export_hf(const ExportSource& source, const std::filesystem::path& directory,
                                         DType type) {
  return std::make_unique<HfExporter>(source, directory, type);
}

}  // namespace hack::model
