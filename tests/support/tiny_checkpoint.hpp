#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/collectives.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {

/// A tiny model on disk, made by rank 0 and seen by all.
class TinyCheckpoint {
 public:
  explicit TinyCheckpoint(const TinyModel& tiny) {
    if (world_.is_root()) {
      folder_.emplace();
      write_hf(tiny, *folder_ / "model");
      path_ = (*folder_ / "model").string();
    }
    comm::broadcast(world_, path_);
    checkpoint_ = model::Checkpoint::open(path_);
  }
  ~TinyCheckpoint() { world_.barrier(); }
  TinyCheckpoint(const TinyCheckpoint&) = delete;
  TinyCheckpoint& operator=(const TinyCheckpoint&) = delete;

  const comm::Communicator& world() const { return world_; }
  const model::Checkpoint& operator*() const { return *checkpoint_; }
  std::string archive_path() const { return path_ + "/factors.h5"; }

 private:
  comm::Communicator world_ = comm::Communicator::world();
  std::optional<TemporaryDirectory> folder_;
  std::string path_;
  std::unique_ptr<model::Checkpoint> checkpoint_;
};

}  // namespace hack::testing
