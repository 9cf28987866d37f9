#pragma once

#include <memory>

#include "model/checkpoint/json_object.hpp"
#include "model/import/foreign_matrix.hpp"

namespace hack::model {

/// How a checkpoint's matrices are quantised by GPTQ: integers of some bits, less a zero point, times a scale.
struct GptqFormat {
  index_t bits = 4;
  index_t group_size = 128;  ///< columns that share scale and zero point; the whole row where it was -1
  int zero_offset = 1;       ///< added to stored zero points: 1 in the format "gptq", 0 in "gptq_v2"
};

/// Reads quantization_config of config.json, or quantize_config.json. An Error names what is not GPTQ or has codes or
/// packing that are not known.
GptqFormat read_gptq_format(const JsonObject& quantization);

/// A quantised matrix, if there is one of that name:
///
///     qweight (cols bits / 32, rows) of I32    codes of consecutive columns, the first one in the lowest bits
///     qzeros  (groups, rows bits / 32) of I32  zero points of consecutive rows, likewise
///     scales  (groups, rows)                   number (r, c) is scale · (code - zero), those of group g_idx[c]
///     g_idx   (cols) of I32                    may be left out: c / group_size
///
/// Tiles of dense terms in q4_0, q5_0 or q8_0, the narrowest whose codes have room for all code - zero; each of their
/// blocks of 32 has its group's scale. An Error where 32 neighbours do not share a group (columns in the order of
/// activations), a scale is no binary16, or a difference does not fit 8 bits. Null where there is none.
std::unique_ptr<ForeignMatrix> find_gptq(ForeignTensors& tensors, const MatrixOf& of, const GptqFormat& format);

}  // namespace hack::model
