#pragma once

#include <optional>
#include <string>
#include <vector>

#include "jobs/compression/compression_options.hpp"

namespace hack::jobs {

/// Names of fixed sets of options, those of low rank each with one step more than the one before it:
///
///     plain-factors  SVD of the weights, two factors a tile
///     plain          SVD of the weights, row interpolative decomposition
///     whiten         each tile by its own inputs, each tile alike, inputs of the dense model
///     whiten-refit   left factors of a row of tiles solved for together
///     feedback       before that, one sweep of error feedback: tiles make up for each other's errors
///     feedback3      three sweeps of error feedback
///     loss           the budget allocated by measured loss
///     propagated     inputs that the compressed layers before give
///     refined        Adam on each layer's factors
///     quantized      dense tiles in codecs with blocks in place of low rank, chosen by measured loss
std::vector<std::string> ladder();

/// A method that is one codec for all tiles, whatever the budget. Its name is the codec's, or, with "-plain" after it,
/// that of numbers rounded without a text, as most GGUF files are made.
struct CodecMethod {
  std::string codec;
  bool is_plain;
};
std::optional<CodecMethod> codec_method(const std::string& name);

/// Returns the options with the ones that a rung of the ladder, or a codec method, decides set to it. An Error for an
/// unknown name.
CompressionOptions at_rung(CompressionOptions options, const std::string& name);

}  // namespace hack::jobs
