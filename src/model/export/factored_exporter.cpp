#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/layer_tensors.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "model/export/factored_tensors.hpp"
#include "model/export/hf_directory.hpp"
#include "model/export/leaving_rows.hpp"
#include "model/export/modeling_file.hpp"

namespace hack::model {
namespace {

constexpr std::string_view weight_suffix = ".weight";

/// A tensor of the model: a compressed matrix as its terms, or rows of numbers.
struct FactoredItem {
  LeavingTensor dense;
  std::optional<FactoredTensors> terms;
};

class FactoredExporter final : public ModelExporter {
 public:
  FactoredExporter(const ExportSource& source, const std::filesystem::path& directory, DType type)
      : source_(source),
        config_(hf_config_of(source.checkpoint, type)),
        directory_(directory),
        writer_(directory_.add("model.safetensors")) {
    validate(source.archive != nullptr, "there are no terms to write without compressed matrices; name their archive");
    nlohmann::ordered_json sizes = nlohmann::ordered_json::object();
    for (TensorSpec& spec : llama_tensors(source.checkpoint.config())) {
      FactoredItem item{{spec, *ggml_type_of(codec_of(type))}, {}};
      if (stays_factored(spec)) {
        const std::string module = spec.name.substr(0, spec.name.size() - weight_suffix.size());
        item.terms.emplace(*source.archive, spec.name);
        for (const FactoredTensors::Tensor& tensor : item.terms->tensors()) {
          writer_.add_tensor(fmt::format("{}.{}", module, tensor.name), tensor.shape, tensor.type, tensor.number_bytes);
          sizes[module][std::string(tensor.name)] = tensor.shape.front();
        }
      } else {
        writer_.add_tensor(spec.name, shape_of(spec), type);
      }
      items_.push_back(std::move(item));
    }
    const std::string class_name = fmt::format("Hack{}", architecture_of(source.checkpoint.config()).hf_class);
    config_["architectures"] = {class_name};
    config_["auto_map"] = {{"AutoModelForCausalLM", "modeling_hack." + class_name}};
    config_["hack_matrices"] = std::move(sizes);
  }

  index_t size() const override { return std::ssize(items_); }

  void write_next() override {
    const FactoredItem& item = items_[next_++];
    if (!item.terms) {
      read_rows(source_, item.dense, [&](std::span<const std::byte> bytes) { writer_.write(bytes); });
      count(to_string(item.dense.type), item.dense.bytes());
      return;
    }
    const std::vector<std::vector<std::byte>> bytes = item.terms->read();
    for (std::size_t t = 0; t < bytes.size(); ++t) {
      writer_.write(bytes[t]);
      count(item.terms->tensors()[t].type, std::ssize(bytes[t]));
    }
  }

  void finish() override {
    writer_.finish();
    directory_.write_companions(source_.checkpoint, remarks_);
    directory_.write_text("modeling_hack.py", modeling_file());
    directory_.finish(config_);
  }

 private:
  /// Of a compressed embedding table rows are looked up, so that it leaves multiplied out.
  bool stays_factored(const TensorSpec& spec) {
    if (!source_.archive->contains(spec.name)) return false;
    const bool is_table = spec.name == embedding_tensor.name;
    if (is_table) remarks_.push_back("the embedding table leaves multiplied out: its rows are looked up");
    return !is_table;
  }

  ExportSource source_;
  nlohmann::ordered_json config_;
  HfDirectory directory_;
  SafetensorsWriter writer_;
  std::vector<FactoredItem> items_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<ModelExporter> export_factored_hf(const ExportSource& source, const std::filesystem::path& directory,
                                                  DType type) {
  return std::make_unique<FactoredExporter>(source, directory, type);
}

}  // namespace hack::model
