#include "model/import/foreign_tensors.hpp"

#include <algorithm>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "kernels/finite.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/layer_tensors.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view whole_model = "model.";

}  // namespace

ForeignTensors::ForeignTensors(const fs::path& directory) : path_(directory) {
  const fs::path single = directory / "model.safetensors", index = directory / "model.safetensors.index.json";
  if (fs::exists(single)) {
    open(single);
  } else {
    validate(fs::exists(index),
             "cannot use {} (it has neither model.safetensors nor model.safetensors.index.json); weights in other "
             "formats, pickled ones among them, have to be saved as safetensors first",
             directory.string());
    const nlohmann::json json = read_json(index);
    const JsonObject map = JsonObject(json, index.string()).object("weight_map");
    std::set<std::string> shards;
    for (const auto& [name, file] : json["weight_map"].items()) shards.insert(map.string(name));
    for (const std::string& shard : shards) {
      validate(!shard.empty() && fs::path(shard).filename() == shard && shard != ".." && fs::exists(directory / shard),
               "cannot use {} (it has no shard '{}', which {} names); fetch it again", directory.string(), shard,
               index.filename().string());
      open(directory / shard);
    }
  }
}

void ForeignTensors::open(const fs::path& path) {
  const auto& file = *files_.emplace_back(std::make_unique<SafetensorsFile>(path));
  for (const auto& [stored, entry] : file.entries()) {
    const bool is_bare =
        stored.starts_with("layers.") || stored.starts_with("embed_tokens.") || stored == "norm.weight";
    const std::string name = (is_bare ? std::string(whole_model) : std::string()) + stored;
    validate(tensors_.emplace(name, Tensor{&file, &entry}).second, "{} holds tensor '{}' twice", path_.string(), name);
  }
}

const ForeignTensors::Tensor& ForeignTensors::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  validate(found != tensors_.end(), "{} is incomplete (it has no tensor '{}')", path_.string(), name);
  return found->second;
}

const SafetensorsEntry& ForeignTensors::entry(const std::string& name) const { return *at(name).entry; }

const SafetensorsEntry& ForeignTensors::find(const std::string& name, std::span<const index_t> shape,
                                             std::span<const std::string_view> types) {
  const SafetensorsEntry& entry = *at(name).entry;
  validate(std::equal(shape.begin(), shape.end(), entry.shape.begin(), entry.shape.end()),
           "tensor '{}' of {} has the shape ({}), expected ({})", name, path_.string(), fmt::join(entry.shape, ", "),
           fmt::join(shape, ", "));
  validate(std::find(types.begin(), types.end(), entry.type) != types.end(),
           "tensor '{}' of {} is of type {}, expected {}", name, path_.string(), entry.type, fmt::join(types, " or "));
  use(name);
  return entry;
}

std::span<const std::byte> ForeignTensors::bytes(const std::string& name) const {
  const Tensor& tensor = at(name);
  return tensor.file->file().bytes(tensor.entry->offset, tensor.entry->bytes);
}

void ForeignTensors::read(const std::string& name, index_t row, MatrixView<float> out) const {
  const Codec codec = codec_of_type(at(name).entry->type);
  const std::byte* from = bytes(name).data();
  const index_t stride = out.cols * size_of(plain_type(codec));
  for (index_t i = 0; i < out.rows; ++i) {
    dequantize(*ggml_type_of(codec), from + (row + i) * stride, 0, out.cols, out.row(i));
    validate(are_finite({out.row(i), static_cast<std::size_t>(out.cols)}),
             "tensor '{}' of {} holds NaN or infinity (row {})", name, path_.string(), row + i);
  }
  at(name).file->file().release({from + row * stride, from + (row + out.rows) * stride});
}

void ForeignTensors::release(const std::string& name) const { at(name).file->file().release(bytes(name)); }

std::vector<std::string> ForeignTensors::unused() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    if (used_.count(name) == 0) names.push_back(name);
  }
  return names;
}

Codec codec_of_type(std::string_view type) {
  if (type == "F32") return Codec::f32;
  if (type == "F16") return Codec::f16;
  HACK_EXPECT(type == "BF16");
  return Codec::bf16;
}

}  // namespace hack::model
