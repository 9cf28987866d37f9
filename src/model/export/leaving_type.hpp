#pragma once

#include <optional>
#include <string>

#include "model/checkpoint/ggml_blocks.hpp"
#include "svd/archive/matrix_table.hpp"

namespace hack::model {

/// In which of GGML's formats a compressed matrix can leave with the numbers it has; where there is none, why.
struct LeavingType {
  std::optional<GgmlType> type;
  std::string obstacle;  ///< "tiles in low_rank bf16", …
};

LeavingType leaving_type(const svd::MatrixTable& matrix);

}  // namespace hack::model
