#pragma once

#include <string>
#include <vector>

#include "jobs/compression/compression_options.hpp"

namespace hack::jobs {

/// Names of fixed sets of options, each with one step more than the one before it:
///
///     plain-factors  SVD of the weights, two factors a tile
///     plain          the same, interpolative
///     whiten         each tile by its own inputs, each tile alike, inputs of the dense model
///     whiten-refit   left factors of a row of tiles solved for together
///     feedback       before that, one sweep in which tiles make up for each other's errors
///     feedback3      three sweeps
///     loss           the budget shared out by measured loss
///     propagated     inputs as the compressed layers before give them
///     refined        Adam on each layer's factors
std::vector<std::string> ladder();

/// The options with those that a rung of the ladder decides set to it. An Error for a name that is none.
CompressionOptions at_rung(CompressionOptions options, const std::string& name);

}  // namespace hack::jobs
