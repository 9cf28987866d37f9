#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "jobs/compression/calibration_options.hpp"
#include "model/calibration/layerwise_fit.hpp"
#include "svd/archive/archive_info.hpp"

namespace hack::jobs {

/// What a compression is asked for: which matrices, how they are stored, and what their factors are fitted to.
struct CompressionOptions {
  std::string mode = "tile";
  std::string tile = "128";
  std::vector<std::string> matrices = {"gate", "up", "down"};
  svd::RankRule rule;
  std::string codec = "bf16";
  /// What tiles are: "quantized", one dense term in a codec with blocks each, or "lowrank". Empty until settle_terms().
  std::string terms;
  /// The codecs of quantized tiles, those of several by the budget.
  std::vector<std::string> codecs;
  std::string storage = "interpolative";
  CalibrationOptions calibration;
  std::optional<double> target_loss;  ///< that the rank rule was found for
  index_t memory = 0;                 ///< bytes a rank may take; 0: as little as serves
  std::string objective = "bytes";    ///< or time: no tile in a form slower than dense
  std::string times;                  ///< what says which are, a report of `hack bench apply`
  long objective_tokens = 1;          ///< that a product is of

  /// Adds all but the rank rule, which is every subcommand's own.
  void add_to(CLI::App& app);

  /// Decides what nobody said of terms and codecs: a budget that is fitted to a text is spent on quantized tiles, each
  /// in one of the codecs around the budget. An Error where what was said does not fit together.
  void settle_terms();

  /// Takes from the codecs those that `times` measured as slower than weights without scales, if there are times. An
  /// Error where none is left, or one of several; errors as ApplyTimes's.
  void leave_out_slow_codecs();

  /// An Error, naming the option, where options contradict each other or a text is missing.
  void check() const;

  bool quantizes() const { return !codecs.empty(); }
  /// The codecs, fewest bits first; of several the rule is a budget.
  std::vector<Codec> codecs_by_size() const;

  /// Bits of a number in the largest of them, scales included.
  double bits() const;

  /// Vectors that are kept for other ranks are stored as they are found: f32, as factors. Reads `times`, if there are
  /// any; an Error names that file where it has no times of these factors.
  svd::CompressOptions stored() const;
  /// The linear layers of each decoder layer that are chosen.
  std::vector<model::Linear> linears() const;
  /// Whether the head is one of them. An Error where it is named but is the embedding table of a model, and tiles are
  /// such that its rows could not be looked up.
  bool takes_head(const model::LlamaConfig& config) const;
  model::LayerwiseOptions layerwise(const model::LlamaConfig& config, DType type) const;

  /// What decides the numbers in an archive: nothing else may, neither ranks nor threads nor where files lie.
  nlohmann::json describe() const;

 private:
  void check_codecs() const;
};

}  // namespace hack::jobs
