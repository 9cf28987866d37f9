#pragma once

#include <functional>
#include <span>

#include "model/checkpoint/llama_tensors.hpp"
#include "model/export/model_exporter.hpp"

namespace hack::model {

/// Takes the next bytes of a tensor.
using TensorSink = std::function<void(std::span<const std::byte>)>;

/// A tensor as it leaves.
struct LeavingTensor {
  TensorSpec spec;
  GgmlType type = GgmlType::f32;
  bool keeps_blocks = false;  ///< the archive's codes and scales, not what they are multiplied out to
  index_t paired_head = 0;    ///< head dimension where rotary pairs of rows are put side by side; else 0

  index_t bytes() const { return spec.rows * row_bytes(type, spec.cols); }
};

/// Hands all bytes of a tensor to `sink`, row after row. A compressed matrix comes from the archive, a few rows of
/// tiles at most being in memory, everything else from the checkpoint. An Error names the tensor where a number is too
/// large for its type.
void read_rows(const ExportSource& source, const LeavingTensor& tensor, const TensorSink& sink);

}  // namespace hack::model
