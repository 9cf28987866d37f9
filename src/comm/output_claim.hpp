#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "io/output_lock.hpp"

namespace hack::comm {

/// A run's right to write an output, while this object lives. Rank 0 holds the lock. The other ranks remove its file
/// where they are ended and rank 0 is not there any more to do it.
class OutputClaim {
 public:
  /// Asks for it; changes nothing else. The folder of `output` must be there. An Error, the same on all ranks, where no
  /// file can be made in it. Collective: returns when rank 0 has its answer.
  OutputClaim(const Communicator& comm, const std::filesystem::path& output);

  /// Whether this run may write.
  bool is_ours() const { return holder_.empty(); }
  /// Which other process writes it.
  const std::string& holder() const { return holder_; }
  /// Whether a second run is kept out; not on file systems without locks. Known on rank 0.
  bool is_held() const { return lock_ && lock_->is_held(); }

 private:
  std::string holder_;  // if it is another's
  std::unique_ptr<io::OutputLock> lock_;
  std::optional<io::GuardedPath> guard_;
};

}  // namespace hack::comm
