#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/queue.hpp"
#include "model/calibration/calibration_text.hpp"
#include "model/llama/names.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/fit/weighted_factorizer.hpp"
#include "svd/pipeline/fit.hpp"
#include "svd/quantize/row_quantizer.hpp"
#include "svd/refine/mlp_refiner.hpp"

namespace hack::model {

/// How a model is compressed with a text at hand.
struct LayerwiseOptions {
  svd::CompressOptions storage;
  svd::WeightingOptions weighting;
  /// Every tile is one dense term in the storage's codec, which has blocks; there are no ranks to choose.
  std::optional<svd::QuantizeOptions> quantize;
  std::map<std::string, Codec> codecs;  ///< of matrices that are quantized in another one than the storage's
  bool compressed_inputs = true;  ///< statistics of what the layers compressed before give, not of the dense model
  double target_share = 0.5;      ///< of the correction for their errors, as PropagatedTarget
  double token_power = 0;         ///< what errors of a token count, as LayerwisePass
  std::optional<svd::RefineOptions> refine;  ///< of each layer's MLP, after its factorization: gate, up and down
  std::vector<Linear> linears;               ///< which ones of each layer
  bool head = false;                         ///< the head too, be it the embedding table
  index_t align = 1;                         ///< budgets choose ranks that are multiples of it
  DType type = DType::f32;                   ///< what weights are held in
  Queue<Device::cuda>* gpu = nullptr;        ///< where layers run and are refined; null: on the CPU
  /// Where statistics of the dense model's inputs are kept and found again (StatisticsFile); empty: nowhere. Inputs
  /// that compressed layers give are new in every run and never kept.
  std::filesystem::path statistics_folder;
};

/// The ranks of a matrix; where there are none for its name, it gets those of the rank rule by itself.
using RankChoices = std::map<std::string, std::vector<svd::TileChoice>>;

/// Makes the fit that takes a model layer after layer, with factors fitted to the inputs that the windows give; its
/// steps are the layers, and the head at last. Collective, and so are its steps. Ranks share out windows, then rows of
/// tiles; every rank holds one layer, its factors and statistics.
///
///     for each layer, for each input (q k v | o | gate up | down), and for the head:
///       windows ─ InputStatistics ─ PropagatedTarget ─ WeightedFactorizer ─ archive
///                                                           └─ the compressed stream goes on with the factors
///
/// A step's state is the streams behind its layer. Memory of a rank: of each of its windows context · (2 hidden +
/// intermediate) · 4 bytes, two layers in `type`, the layer's factors and products in f32, and in double H (n, n) of
/// the inputs of largest n and a factor of it; see layerwise_memory().
///
/// Communicator, queue, GPU and checkpoint outlive the fit; `queue` is the host's.
std::unique_ptr<svd::Fit> make_layerwise_fit(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                                             const CalibrationText& text, const LayerwiseOptions& options,
                                             const RankChoices& choices = {});

}  // namespace hack::model
