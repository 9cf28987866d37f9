#pragma once

#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "jobs/compression/model_files.hpp"
#include "jobs/bench/random_factor_source.hpp"

namespace hack::jobs {

/// The model that a bench runs: MODEL and --archive, or random weights of a published shape, and with --rank random
/// factors for its MLP.
class BenchModel {
 public:
  void add_options(CLI::App& app);
  bool is_named() const { return !model_.empty() || !shape_.empty(); }

  /// Opens the checkpoint on this rank, and the archive or the random factors in its place.
  void open(const Session& session);
  const model::Checkpoint& checkpoint() const { return files_->checkpoint(); }
  const ModelFiles& files() const { return *files_; }
  /// Valid as long as this.
  model::WeightSource source(model::HeldType type) const;
  /// "model" or "shape" and "layers", "codec" of random numbers, and "rank" and "storage" of random factors.
  void describe(nlohmann::json& row) const;

  const std::string& shape() const { return shape_; }
  /// Of random factors, or of random weights where it has scales.
  Codec codec() const { return parse_codec(codec_); }

 private:
  std::string model_, archive_, shape_, storage_ = "interpolative", codec_ = "bf16";
  std::optional<long> layers_, rank_;
  std::optional<ModelFiles> files_;
  std::optional<RandomFactorSource> factors_;
};

}  // namespace hack::jobs
