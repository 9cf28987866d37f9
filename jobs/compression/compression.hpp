#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/hash.hpp"
#include "comm/journal.hpp"
#include "jobs/compression/compression_options.hpp"
#include "jobs/session/session.hpp"
#include "kernels/queue.hpp"
#include "model/calibration/layerwise_fit.hpp"
#include "model/calibration/loss_sensitivity.hpp"
#include "model/calibration/token_windows.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "svd/choose/allocation.hpp"
#include "svd/pipeline/compress.hpp"

namespace hack::jobs {

/// An archive that was written, and how that went; `memory` is that of the whole process. The same on every rank.
struct Compressed : svd::CompressReport {
  double predicted_loss = 0;  ///< of ranks chosen by measured loss
  double seconds = 0;
};

/// What becomes of the steps that a run has finished when it is killed: nothing; they stay beside the archive; they
/// stay, and those of the run before are taken up.
enum class FinishedSteps { forgotten, kept, resumed };

/// Compresses a model into archives, any number of times. Collective: ranks make the same calls.
class Compressor {
 public:
  /// The references outlive this. `type`: what weights are held in.
  Compressor(Session& session, const model::Checkpoint& checkpoint, DType type);

  /// Writes one archive. Measured losses are kept in its folder, where the next run with the same text finds them;
  /// finished steps, until it is whole, in `output` + ".parts". An Error where options contradict each other, a text is
  /// unfit or the steps are another run's; nothing is left behind then.
  Compressed run(const CompressionOptions& options, const std::filesystem::path& output,
                 FinishedSteps steps = FinishedSteps::forgotten);

  /// What compressing each matrix by itself costs, to share out budgets. From the file in `folder`, where it is there.
  std::vector<model::MatrixSensitivity> sensitivities(const CompressionOptions& options,
                                                      const std::filesystem::path& folder);

  /// The window on which losses are measured: the last whole one of the texts, the same however many calibrate.
  model::TokenWindows probe(const CompressionOptions& options);

  const model::Checkpoint& checkpoint() const { return checkpoint_; }
  DType type() const { return type_; }

  /// Full rank of the largest tile.
  index_t largest_rank(const CompressionOptions& options) const;

  /// What the selected matrices take as dense numbers of the factor type.
  index_t bytes_dense(const CompressionOptions& options) const;

 private:
  using Ranks = model::RankChoices;

  /// How an archive is made.
  struct Plan {
    std::unique_ptr<svd::Fit> fit;
    const char* unit;           // that its size is counted in
    io::Hash contents;          // what decides over its steps and numbers, beside the header
    double predicted_loss = 0;  // of ranks chosen by measured loss
    std::string sketch = {};    // of the calibration text, if there is one
  };

  Plan plan_plain(const CompressionOptions& options);
  /// `folder`: where measured losses and statistics are kept.
  Plan plan_layerwise(const CompressionOptions& options, const std::filesystem::path& folder);
  void warn_of_few_tokens(index_t tokens) const;
  /// Where layers run, if the session is on GPUs; takes this rank's at first.
  Queue<Device::cuda>* gpu();
  /// The finished steps of an archive at `output`, made by this plan.
  std::unique_ptr<comm::Journal> open_journal(const svd::Destination& to, const Plan& plan, bool resume) const;
  Ranks allocate_ranks(const CompressionOptions& options, const std::filesystem::path& folder, double& predicted_loss);
  /// The codec of each matrix, where there are several to choose from.
  std::map<std::string, Codec> allocate_codecs(const CompressionOptions& options, const std::filesystem::path& folder,
                                               double& predicted_loss);
  std::vector<svd::MatrixSource> sources(const CompressionOptions& options) const;
  const std::vector<int>& tokens(const CalibrationOptions& options);

  Session& session_;
  const model::Checkpoint& checkpoint_;
  DType type_;
  Queue<Device::cpu> queue_;
  std::unique_ptr<Queue<Device::cuda>> gpu_;  // once it is taken
  std::vector<std::string> texts_;            // that tokens_ come from
  std::vector<int> tokens_;
};

/// The measured spectra with their weights; they point into `measured`.
std::vector<svd::MatrixSpectra> spectra_of(const std::vector<model::MatrixSensitivity>& measured);

/// How ranks are shared out by measured loss.
svd::AllocationOptions allocation_options(const CompressionOptions& options);

/// A report's entry of one matrix, or of all.
nlohmann::json describe(const svd::CompressionSummary& summary);
/// The whole report of one archive.
nlohmann::json describe(const Compressed& compressed);

}  // namespace hack::jobs
