#include "model/checkpoint/safetensors_writer.hpp"

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

const char* name_of(DType type) { return type == DType::f32 ? "F32" : type == DType::f16 ? "F16" : "BF16"; }

}  // namespace

void SafetensorsWriter::add_tensor(std::string_view name, std::span<const index_t> shape, DType type) {
  add_tensor(name, shape, name_of(type), size_of(type));
}

void SafetensorsWriter::add_tensor(std::string_view name, std::span<const index_t> shape, std::string_view type,
                                   index_t bytes) {
  HACK_EXPECT(data_begin_ == 0);
  for (const index_t extent : shape) bytes *= extent;
  const std::uint64_t end = data_size_ + static_cast<std::uint64_t>(bytes);
  tensors_.push_back({std::string(name), {shape.begin(), shape.end()}, std::string(type), data_size_, end});
  data_size_ = end;
}

void SafetensorsWriter::write_header() {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};  // without it transformers refuses the file
  for (const Tensor& tensor : tensors_) {
    header[tensor.name] = {{"dtype", tensor.type},
                           {"shape", tensor.shape},
                           {"data_offsets", std::vector<std::uint64_t>{tensor.begin, tensor.end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors are aligned to 8 bytes
  const std::uint64_t size = text.size();
  file_.write(std::as_bytes(std::span(&size, 1)));
  file_.write(text);
  data_begin_ = file_.size();
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (data_begin_ == 0) write_header();
  HACK_EXPECT(file_.size() - data_begin_ + bytes.size() <= data_size_);
  file_.write(bytes);
}

void SafetensorsWriter::finish() {
  if (data_begin_ == 0) write_header();
  HACK_EXPECT(file_.size() - data_begin_ == data_size_);
  file_.finish();
}

}  // namespace hack::model
