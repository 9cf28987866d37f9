#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/queue.hpp"
#include "model/calibration/calibration_text.hpp"
#include "model/llama/names.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/fit/weighted_factorizer.hpp"

namespace hack::model {

/// What compressing one matrix, all others as they are, does to the model.
struct MatrixSensitivity {
  std::string name;
  svd::TileGrid grid;
  std::vector<float> sigma;  ///< singular values of its whitened tiles, tile after tile
  double divergence = 0;     ///< mean over tokens of KL(dense model || model with this matrix at `probe_keep`)
  double discarded = 0;      ///< Σ σ² left out for that
  /// tr(E H Eᵀ) in each of the codecs; there are no singular values then, and divergence and discarded are the first's.
  std::vector<double> codec_errors;

  /// Loss per unit of weighted energy left out. Divergences within rounding of nothing count as a little.
  double weight() const;
};

struct SensitivityOptions {
  svd::CompressOptions storage;  ///< its tiles; the rank rule does not count
  svd::WeightingOptions weighting;
  std::vector<Linear> linears;         ///< which ones of each layer
  bool head = false;                   ///< the head too; if it is the embedding table, as a head alone
  double token_power = 0;              ///< what errors of a token count, as LayerwisePass
  double probe_keep = 0.4;             ///< share of each tile that the probe keeps
  std::vector<Codec> codecs;           ///< with blocks; if there are any, the probe is a matrix in the first of them
  DType type = DType::f32;             ///< what weights are held in
  Queue<Device::cuda>* gpu = nullptr;  ///< where layers run; null: on the CPU
  /// Where measurements are kept, in a file named after model, text and options, and found again; empty: nowhere.
  std::filesystem::path folder;
};

/// Measures them by forward passes alone. The statistics come from `windows`; the divergences from one window `probe`,
/// as long or shorter. Collective; the same on every rank.
///
///     layer     0          1          2        …   head
///     probe     ───────────────────────────────── KL against each variant
///     variants  q k v … ──────────────────────────┘        one for every matrix, from its layer on
///                          q k v … ───────────────┘        (the head's has another head)
///
/// One layer at a time is in memory, and beside the windows' stream the states of all variants, shared out to ranks:
/// matrices · context of the probe · hidden · 4 bytes together.
std::vector<MatrixSensitivity> measure_sensitivities(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                                                     const CalibrationText& text, const TokenWindows& probe,
                                                     const SensitivityOptions& options,
                                                     const std::function<void(index_t done, index_t total)>& progress);

}  // namespace hack::model
