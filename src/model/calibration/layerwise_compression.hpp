#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/journal.hpp"
#include "kernels/queue.hpp"
#include "model/calibration/token_windows.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/llama/names.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/pipeline/compression_summary.hpp"
#include "svd/refine/mlp_refiner.hpp"
#include "svd/fit/weighted_factorizer.hpp"

namespace hack::model {

/// How a model is compressed with a text at hand.
struct LayerwiseOptions {
  svd::CompressOptions storage;
  svd::WeightingOptions weighting;
  bool compressed_inputs = true;  ///< statistics of what the layers compressed before give, not of the dense model
  double target_share = 0.5;      ///< of the correction for their errors, as PropagatedTarget
  double token_power = 0;         ///< what errors of a token count, as LayerwisePass
  std::optional<svd::RefineOptions> refine;  ///< of each layer's MLP, after its factorization
  std::vector<Linear> linears;               ///< which ones of each layer
  bool head = false;                         ///< the head too, which is not the embedding table then
  index_t align = 1;                         ///< budgets choose ranks that are multiples of it
  DType type = DType::f32;                   ///< what weights are held in
  Queue<Device::cuda>* gpu = nullptr;        ///< where layers run and are refined; null: on the CPU
  /// Where statistics of the dense model's inputs are kept and found again (StatisticsFile); empty: nowhere. Inputs
  /// that compressed layers give are new in every run and never kept.
  std::filesystem::path statistics_folder;
};

/// What the inputs of one matrix say of its compression.
struct WeightedSummary {
  double energy = 0;     ///< tr(T H Tᵀ) of what was to be met
  double error = 0;      ///< tr(E H Eᵀ) as measured, before rounding to the factor type
  double predicted = 0;  ///< Σ σ² left out, of the whitened tiles by themselves
};

struct LayerwiseReport {
  std::vector<svd::CompressionSummary> matrices;
  std::vector<WeightedSummary> weighted;   ///< of the same matrices
  std::vector<svd::RefineReport> refined;  ///< of each layer; nothing without refinement
  svd::CompressionSummary total;
  std::map<std::string, double> seconds;  ///< by phase, of the rank that took longest
};

/// The ranks of a matrix; where there are none for its name, it gets those of the rank rule by itself.
using RankChoices = std::map<std::string, std::vector<svd::TileChoice>>;

/// Compresses layer after layer into a factor archive, with factors fitted to the inputs that the windows give.
/// Collective. Ranks share out windows, then rows of tiles; every rank holds one layer, its factors and statistics.
///
///     for each layer, for each input (q k v | o | gate up | down), and for the head:
///       windows ─ InputStatistics ─ PropagatedTarget ─ WeightedFactorizer ─ archive
///                                                           └─ the second stream goes on with the factors
///
/// With a journal each layer is a step, its state the streams behind it: layers that are in the journal are written
/// from there, and the archive is the same to the byte as if the run had never been ended.
///
/// Memory of a rank: of each of its windows context · (2 hidden + intermediate) · 4 bytes, two layers in `type`, the
/// layer's factors and products in f32, and for the inputs of largest n 3 n² + 2 n · tile numbers in double.
LayerwiseReport compress_layerwise(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                                   const Checkpoint& checkpoint, const TokenWindows& windows,
                                   const LayerwiseOptions& options, const RankChoices& choices,
                                   const svd::ArchiveHeader& header, const std::filesystem::path& output,
                                   const std::function<void(index_t done, index_t total)>& progress,
                                   comm::Journal* journal = nullptr);

}  // namespace hack::model
