#pragma once

#include <map>
#include <string>
#include <vector>

#include "svd/pipeline/compression_summary.hpp"
#include "svd/refine/mlp_refiner.hpp"

namespace hack::svd {

/// What the inputs of one matrix say of its compression.
struct WeightedSummary {
  double energy = 0;     ///< tr(T H Tᵀ) of what was to be met
  double error = 0;      ///< tr(E H Eᵀ) as measured, before rounding to the factor type
  double predicted = 0;  ///< Σ σ² left out, of the whitened tiles by themselves
};

/// What became of the matrices of a step, or of all.
struct StepReport {
  std::vector<CompressionSummary> matrices;  ///< in the order of the archive
  std::vector<WeightedSummary> weighted;     ///< of the same matrices; nothing of a fit without a text
  std::vector<RefineReport> refined;         ///< of each layer that was refined
};

/// How matrices were compressed. The same on every rank.
struct CompressReport : StepReport {
  CompressionSummary total;
  std::map<std::string, double> phases;  ///< seconds of each, of the rank that took longest
  std::vector<double> idle_shares;       ///< of each rank's time, what it waited for others; nothing with a text
  index_t memory = 0;                    ///< most bytes that any rank held, by the formula of bytes_held()
  index_t gpu_memory = 0;                ///< of a GPU's; 0 with a text, where `memory` is of both
};

}  // namespace hack::svd
