#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "jobs/session/session.hpp"
#include "kernels/queue.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/evaluate/model_comparison.hpp"
#include "svd/archive/factor_source.hpp"

namespace hack::svd {
class FactorArchive;
}

namespace hack::jobs {

/// The texts that compressed models are judged on.
struct EvaluationOptions {
  std::vector<std::string> texts;
  long windows = 3;

  /// `name`: the option that takes the texts.
  CLI::Option* add_to(CLI::App& app, const std::string& name);
};

/// What compression did to a model on one text.
struct TextScore {
  std::string text;       ///< as given
  double before = 0;      ///< perplexity of the dense model
  double after = 0;       ///< perplexity of the compressed one
  double divergence = 0;  ///< mean over tokens of KL(dense || compressed), in nats
  double same_top = 0;    ///< share of tokens after which both expect the same next one most
};

/// Compares archives with the dense model by protocol 2048, in windows as long as the model was made for if that is
/// shorter. All ranks share one copy of a model; every method is collective and gives the same on every rank.
class Evaluation {
 public:
  /// Reads the texts and runs the dense model on them; warns where one shares long lines with the calibration texts. An
  /// Error, naming option and file, where a text cannot be read or is shorter than a window. The references outlive
  /// this.
  Evaluation(const Session& session, const model::Checkpoint& checkpoint, model::HeldType type,
             const std::string& option, const EvaluationOptions& options, const std::vector<std::string>& calibration);

  /// Scores of the dense model by itself.
  std::vector<TextScore> dense() const;
  /// Scores of what these factors, or an archive, make of it.
  std::vector<TextScore> score(const svd::FactorSource& factors);
  std::vector<TextScore> score(const std::filesystem::path& archive);

 private:
  using Comparison = model::ModelComparison<Device::cpu>;

  const Session& session_;
  const model::Checkpoint& checkpoint_;
  model::HeldType type_;
  Queue<Device::cpu> queue_;
  std::vector<std::string> texts_;
  std::vector<Comparison> comparisons_;  // one a text
};

/// Counts the lines of at least 60 bytes of `text` that stand in `other`, too; shorter ones agree by chance.
long shared_long_lines(const std::string& text, const std::string& other);

/// The key of the sketch of all texts that an archive was calibrated or healed on among the options that an archive
/// keeps.
inline constexpr const char* sketch_key = "calibration-sketch";
/// The share of a text's tokens that an archive was calibrated on, estimated from runs of them; 0 where the archive
/// does not say. Warns where figures on such a text flatter the archive. `origin`: the option and its value.
double calibration_overlap(const Session& session, const svd::FactorArchive& archive, const std::string& origin,
                           std::span<const int> ids);

nlohmann::json describe(const std::vector<TextScore>& scores);

}  // namespace hack::jobs
