#include <optional>
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

/// How compressed matrices leave.
enum class MatrixForm { dense, factored };

/// A tensor of the model: rows of numbers, or the terms of a compressed matrix.
struct HfItem {
  LeavingTensor dense;
  std::optional<FactoredTensors> terms;
};

class HfExporter final : public ModelExporter {
 public:
  HfExporter(const ExportSource& source, const std::filesystem::path& directory, DType type, MatrixForm form)
      : source_(source),
        form_(form),
        config_(hf_config_of(source.checkpoint, type)),
        directory_(directory),
        writer_(directory_.add("model.safetensors")) {
    validate(form == MatrixForm::dense || source.archive != nullptr,
             "there are no terms to write without compressed matrices; name their archive");
    if (form == MatrixForm::factored) name_class();
    for (TensorSpec& spec : llama_tensors(source.checkpoint.config())) {
      HfItem& item = items_.emplace_back(HfItem{{std::move(spec), *ggml_type_of(codec_of(type))}, {}});
      if (stays_factored(item.dense.spec)) {
        add_terms(item);
      } else {
        writer_.add_tensor(item.dense.spec.name, shape_of(item.dense.spec), type);
      }
    }
  }

  index_t size() const override { return std::ssize(items_); }

  void write_next() override {
    const HfItem& item = items_[next_++];
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
    if (form_ == MatrixForm::factored) directory_.write_text("modeling_hack.py", modeling_file());
    directory_.finish(config_);
  }

 private:
  /// Of a compressed embedding table rows are looked up, so that it leaves multiplied out.
  bool stays_factored(const TensorSpec& spec) {
    if (form_ == MatrixForm::dense || !source_.archive->contains(spec.name)) return false;
    const bool is_table = spec.name == embedding_tensor.name;
    if (is_table) remarks_.push_back("the embedding table leaves multiplied out: its rows are looked up");
    return !is_table;
  }

  void add_terms(HfItem& item) {
    constexpr std::string_view weight_suffix = ".weight";
    const std::string& name = item.dense.spec.name;
    const std::string module = name.substr(0, name.size() - weight_suffix.size());
    item.terms.emplace(*source_.archive, name);
    nlohmann::ordered_json& sizes = config_["hack_matrices"][module];
    for (const FactoredTensors::Tensor& tensor : item.terms->tensors()) {
      writer_.add_tensor(fmt::format("{}.{}", module, tensor.name), tensor.shape, tensor.type, tensor.number_bytes);
      sizes[std::string(tensor.name)] = tensor.shape.front();
    }
  }

  void name_class() {
    const std::string name = fmt::format("Hack{}", architecture_of(source_.checkpoint.config()).hf_class);
    config_["architectures"] = {name};
    config_["auto_map"] = {{"AutoModelForCausalLM", "modeling_hack." + name}};
    config_["hack_matrices"] = nlohmann::ordered_json::object();
  }

  ExportSource source_;
  MatrixForm form_;
  nlohmann::ordered_json config_;
  HfDirectory directory_;
  SafetensorsWriter writer_;
  std::vector<HfItem> items_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<ModelExporter> export_hf(const ExportSource& source, const std::filesystem::path& directory,
                                         DType type) {
  return std::make_unique<HfExporter>(source, directory, type, MatrixForm::dense);
}

std::unique_ptr<ModelExporter> export_factored_hf(const ExportSource& source, const std::filesystem::path& directory,
                                                  DType type) {
  return std::make_unique<HfExporter>(source, directory, type, MatrixForm::factored);
}

}  // namespace hack::model
