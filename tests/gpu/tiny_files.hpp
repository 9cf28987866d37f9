#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/collectives.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/llama/linear_layer.hpp"
#include "svd/pipeline/compress.hpp"
#include "svd/archive/factor_archive.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::tests {

/// A tiny model on disk, and archives of it; made by all ranks together.
class TinyFiles {
 public:
  explicit TinyFiles(const testing::TinyModel& tiny) {
    if (world_.is_root()) {
      folder_.emplace();
      testing::write_hf(tiny, *folder_ / "model");
      path_ = (*folder_ / "model").string();
    }
    comm::broadcast(world_, path_);
    checkpoint_ = model::Checkpoint::open(path_);
  }
  ~TinyFiles() { world_.barrier(); }

  /// Factorizes all projections, or those whose names have `part` in them, without a text.
  void compress(const svd::CompressOptions& options, const std::string& part = "") {
    std::vector<svd::MatrixSource> sources;
    for (const std::string& name : checkpoint_->names()) {
      if (name.find("_proj.weight") == std::string::npos || name.find(part) == std::string::npos) continue;
      const model::TensorInfo info = checkpoint_->info(name);
      sources.push_back({name, info.rows, info.cols, [this, name](index_t row, index_t col, MatrixView<float> out) {
                           checkpoint_->read(name, row, col, out);
                         }});
    }
    Queue<Device::cpu> queue(1);
    svd::compress(world_, queue, sources, options,
                  {{"0", checkpoint_->fingerprint(), "{}", "plain", "{}"}, file("factors.h5")});
    take("factors.h5");
  }

  /// Where a file beside the model is.
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Takes weights from this archive from now on.
  void take(const std::string& name) { archive_.emplace(file(name)); }

  const comm::Communicator& world() const { return world_; }
  const model::Checkpoint& checkpoint() const { return *checkpoint_; }
  model::WeightSource source(DType type) const { return {*checkpoint_, archive_ ? &*archive_ : nullptr, type}; }

 private:
  comm::Communicator world_ = comm::Communicator::world();
  std::optional<testing::TemporaryDirectory> folder_;
  std::string path_;
  std::unique_ptr<model::Checkpoint> checkpoint_;
  std::optional<svd::FactorArchive> archive_;
};

}  // namespace hack::tests
