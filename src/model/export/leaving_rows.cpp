#include "model/export/leaving_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/error.hpp"
#include "model/checkpoint/rotary_order.hpp"
#include "svd/archive/dense_rows.hpp"

namespace hack::model {
namespace {

using Bytes = std::vector<std::byte>;

DType plain_type(GgmlType type) {
  return type == GgmlType::f16 ? DType::f16 : type == GgmlType::bf16 ? DType::bf16 : DType::f32;
}

/// The largest number that does not become infinite.
float largest_of(DType type) {
  if (type == DType::f16) return std::nextafter(65520.0f, 0.0f);
  return type == DType::bf16 ? 0x1.fefffep127f : std::numeric_limits<float>::max();
}

/// Rounds numbers to the type in which they leave.
void round_to(const LeavingTensor& tensor, const std::vector<float>& numbers, const TensorSink& sink) {
  const DType type = plain_type(tensor.type);
  const float most = largest_of(type);
  const bool fits = std::all_of(numbers.begin(), numbers.end(), [&](float x) { return std::abs(x) <= most; });
  validate(fits, "tensor '{}' holds numbers beyond {} (its largest is {}); choose a type with a wider range",
           tensor.spec.name, to_string(type), most);
  Bytes bytes(numbers.size() * static_cast<std::size_t>(size_of(type)));
  convert(numbers.data(), DType::f32, bytes.data(), type, std::ssize(numbers));
  sink(bytes);
}

void read_stored(const ExportSource& source, const LeavingTensor& tensor, const TensorSink& sink) {
  constexpr index_t panel_rows = 256;
  const TensorSpec& spec = tensor.spec;
  const bool is_copied = !spec.is_vector && source.checkpoint.codec(spec.name) == codec_of(plain_type(tensor.type));
  Bytes bytes;
  std::vector<float> numbers;
  for (index_t i = 0; i < spec.rows; i += panel_rows) {
    const svd::Range rows = {i, std::min(spec.rows, i + panel_rows)};
    if (is_copied) {
      bytes.resize(static_cast<std::size_t>(rows.size() * row_bytes(tensor.type, spec.cols)));
      source.checkpoint.read_encoded(spec.name, rows, {0, spec.cols}, bytes.data(), nullptr);
      sink(bytes);
    } else {
      numbers.resize(static_cast<std::size_t>(rows.size() * spec.cols));
      source.checkpoint.read(spec.name, i, 0, MatrixView<float>(numbers.data(), rows.size(), spec.cols));
      round_to(tensor, numbers, sink);
    }
  }
}

void multiply_out(const ExportSource& source, const LeavingTensor& tensor, const TensorSink& sink) {
  svd::DenseRows rows(*source.archive, tensor.spec.name, source.queue);
  std::vector<float> numbers;
  for (index_t i = 0; i < rows.grid().tile_rows(); ++i) {
    const index_t height = rows.grid().tile(i, 0).height;
    numbers.resize(static_cast<std::size_t>(height * tensor.spec.cols));
    rows.read(i, MatrixView<float>(numbers.data(), height, tensor.spec.cols));
    round_to(tensor, numbers, sink);
  }
}

/// Puts the blocks of dense tiles side by side.
void copy_blocks(const ExportSource& source, const LeavingTensor& tensor, const TensorSink& sink) {
  const svd::TileGrid& grid = source.archive->matrix(tensor.spec.name).grid;
  const index_t stride = row_bytes(tensor.type, grid.cols());
  Bytes bytes;
  for (index_t i = 0; i < grid.tile_rows(); ++i) {
    const std::vector<svd::StoredTile> tiles = source.archive->read_tiles(tensor.spec.name, i, 0, grid.tile_cols());
    bytes.resize(static_cast<std::size_t>(grid.tile(i, 0).height * stride));
    for (index_t j = 0; j < grid.tile_cols(); ++j) {
      const svd::EncodedArray values = tiles[static_cast<std::size_t>(j)].terms.front().left();
      const index_t of_codes = code_bytes(values.codec, values.cols),
                    of_scales = scale_bytes(values.codec, values.cols);
      std::byte* to = bytes.data() + row_bytes(tensor.type, grid.tile(i, j).col);
      for (index_t r = 0; r < values.rows; ++r) {
        join_blocks(tensor.type, values.codes + r * of_codes, values.scales + r * of_scales,
                    values.cols / block_size(tensor.type), to + r * stride);
      }
    }
    sink(bytes);
  }
}

void read_in_order(const ExportSource& source, const LeavingTensor& tensor, const TensorSink& sink) {
  if (source.archive == nullptr || !source.archive->contains(tensor.spec.name)) {
    read_stored(source, tensor, sink);
  } else if (tensor.keeps_blocks) {
    copy_blocks(source, tensor, sink);
  } else {
    multiply_out(source, tensor, sink);
  }
}

}  // namespace

void read_rows(const ExportSource& source, const LeavingTensor& tensor, const TensorSink& sink) {
  if (tensor.paired_head == 0) return read_in_order(source, tensor, sink);
  Bytes whole;
  whole.reserve(static_cast<std::size_t>(tensor.bytes()));
  read_in_order(source, tensor,
                [&](std::span<const std::byte> bytes) { whole.insert(whole.end(), bytes.begin(), bytes.end()); });
  // Of a vector each number is a row.
  const index_t rows = tensor.spec.is_vector ? tensor.spec.cols : tensor.spec.rows;
  const auto stride = static_cast<std::size_t>(tensor.bytes() / rows);
  Bytes turned(whole.size());
  for (index_t r = 0; r < rows; ++r) {
    const auto from = static_cast<std::size_t>(hf_row(r, tensor.paired_head));
    std::memcpy(turned.data() + static_cast<std::size_t>(r) * stride, whole.data() + from * stride, stride);
  }
  sink(turned);
}

}  // namespace hack::model
