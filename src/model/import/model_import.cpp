#include "model/import/model_import.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/layer_tensors.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "model/import/tile_energies.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

constexpr index_t rows_compared = 256;

/// Whether two numbers of models' shapes are the same, for messages: the field that differs.
std::optional<std::string> differing_field(const LlamaConfig& a, const LlamaConfig& b) {
  const auto is_context = [](const SizeField& field) { return field.member == &LlamaConfig::context_length; };
  for (const SizeField& field : size_fields()) {
    if (a.*field.member != b.*field.member && !is_context(field)) return std::string(field.words);
  }
  for (const FlagField& field : flag_fields()) {
    if (a.*field.member != b.*field.member) return std::string(field.name);
  }
  for (const NumberField& field : number_fields()) {
    if (a.*field.member != b.*field.member) return std::string(field.words);
  }
  const std::vector<float> fa = inverse_frequencies(a), fb = inverse_frequencies(b);
  for (std::size_t i = 0; i < fa.size(); ++i) {
    // As fingerprints take them: both formats state them in their own way.
    if (std::abs(fa[i] - fb[i]) > std::abs(fb[i]) / 4096) return "the rotary embedding";
  }
  return {};
}

bool holds_zeros(const ForeignTensors& tensors, const std::string& name) {
  const auto bytes = tensors.bytes(name);
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{}; });
}

}  // namespace

ModelImport::ModelImport(const Checkpoint& base, const fs::path& directory) : base_(base), tensors_(directory) {
  read_config();
  find_matrices();
  refuse_unknown();
  const bool any = std::any_of(items_.begin(), items_.end(), [](const Item& item) { return !item.is_plain; });
  validate(
      any,
      "cannot import {} (none of its matrices is two linear layers, as SVD-LLM and ASVD have them, or quantised by "
      "GPTQ); a plain model is compressed as it is",
      directory.string());
}

void ModelImport::read_config() {
  const fs::path file = tensors_.path() / "config.json", other = tensors_.path() / "quantize_config.json";
  validate(fs::exists(file), "cannot import {} (it has no config.json)", tensors_.path().string());
  nlohmann::json json = read_json(file);
  if (const auto how = JsonObject(json, file.string()).find_object("quantization_config")) {
    gptq_ = read_gptq_format(*how);
  } else if (fs::exists(other)) {
    gptq_ = read_gptq_format(JsonObject(read_json(other), other.string()));
  }
  json.erase("quantization_config");
  json["model_type"] = std::string(architecture_of(base_.config()).hf);  // layouts have types of their own
  const LlamaConfig config = llama_config_from_hf(JsonObject(json, file.string()));
  if (const auto field = differing_field(config, base_.config())) {
    fail("cannot import {} ({} is not that of {}); give the model that it was made from", file.string(), *field,
         base_.path().string());
  }
}

void ModelImport::find_matrices() {
  for (const TensorSpec& spec : llama_tensors(base_.config())) {
    if (spec.is_vector) {
      find_vector(spec);
      continue;
    }
    const MatrixOf of{spec.name, spec.rows, spec.cols};
    if (spec.name == embedding_tensor.name) {
      rest_.emplace_back(spec, spec.name);
      tensors_.find(spec.name, shape_of(spec), plain_types);
      continue;
    }
    std::unique_ptr<ForeignMatrix> found = find_low_rank(tensors_, of);
    if (!found && gptq_) found = find_gptq(tensors_, of, *gptq_);
    const bool is_plain = !found;
    if (!found) found = find_dense(tensors_, of);
    validate(
        found != nullptr,
        "cannot import {} (it has '{}' in no form that is known: '.weight', two linear layers, or '.qweight' beside "
        "quantization_config)",
        tensors_.path().string(), of.module());
    items_.push_back({of, std::move(found), is_plain});
  }
}

/// A bias of two linear layers is the second one's.
void ModelImport::find_vector(const TensorSpec& spec) {
  constexpr std::string_view bias = ".bias";
  std::string name = spec.name;
  if (!tensors_.contains(name) && name.ends_with(bias)) {
    name = name.substr(0, name.size() - bias.size()) + ".ALinear.bias";
  }
  tensors_.find(name, shape_of(spec), plain_types);
  rest_.emplace_back(spec, name);
}

/// What nothing asked for may be frequencies, biases of zero, or a head that is the embedding table once more.
void ModelImport::refuse_unknown() const {
  for (const std::string& name : tensors_.unused()) {
    if (name.ends_with("rotary_emb.inv_freq") || name.ends_with(".g_idx")) continue;
    if (name.ends_with(".bias") && holds_zeros(tensors_, name)) continue;
    if (name == head_tensor.name && base_.config().tied_embeddings) continue;
    fail("cannot import {} (it has the tensor '{}', which is no part of {} in a form that is known)",
         tensors_.path().string(), name, base_.path().string());
  }
}

void ModelImport::check_rest() const {
  for (const auto& [spec, name] : rest_) {
    validate(
        is_of_model({spec.name, spec.rows, spec.cols}, name),
        "cannot import {} (its tensor '{}' is not that of {}, which runs with its own); give the model that it was "
        "made from",
        tensors_.path().string(), name, base_.path().string());
  }
}

/// Whether a tensor of plain numbers is the model's, rounded to its type.
bool ModelImport::is_of_model(const MatrixOf& of, const std::string& name) const {
  const DType type = plain_type(codec_of_type(tensors_.entry(name).type));
  std::vector<float> own, other;
  std::vector<std::byte> narrow;
  for (index_t i = 0; i < of.rows; i += rows_compared) {
    const index_t rows = std::min(rows_compared, of.rows - i);
    own.resize(static_cast<std::size_t>(rows * of.cols));
    other.resize(own.size());
    base_.read(of.name, i, 0, {own.data(), rows, of.cols});
    tensors_.read(name, i, {other.data(), rows, of.cols});
    narrow.resize(own.size() * static_cast<std::size_t>(size_of(type)));
    convert(own.data(), DType::f32, narrow.data(), type, std::ssize(own));
    convert(narrow.data(), type, own.data(), DType::f32, std::ssize(own));
    if (own != other) return false;
  }
  return true;
}

std::vector<std::string> ModelImport::matrices() const {
  std::vector<std::string> names;
  names.reserve(items_.size());
  for (const Item& item : items_) names.push_back(item.of.name);
  return names;
}

std::optional<svd::MatrixPart> ModelImport::part(index_t i, Queue<Device::cpu>& queue) const {
  const Item& item = items_[static_cast<std::size_t>(i)];
  if (item.is_plain && is_of_model(item.of, item.of.name)) return {};
  svd::MatrixPart part = item.matrix->part();
  set_energies(queue, base_, part);
  return part;
}

svd::CompressOptions ModelImport::storage() const {
  svd::CompressOptions storage;
  storage.mode = gptq_ ? svd::TileMode::tile : svd::TileMode::full;
  storage.storage = svd::Structure::low_rank;
  storage.rule = {svd::RankRule::Kind::topk, 1};
  for (const Item& item : items_) {
    if (item.is_plain) continue;
    storage.codec = item.matrix->codec();
    break;
  }
  return storage;
}

}  // namespace hack::model
