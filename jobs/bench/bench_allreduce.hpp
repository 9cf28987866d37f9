#pragma once

#include <vector>

#include <CLI/CLI.hpp>

#include "jobs/session/session.hpp"

namespace hack::jobs {

/// `hack bench allreduce`: sums vectors over the ranks, call by call in turn with MPI's own all-reduce, and checks the
/// result of each call.
class AllreduceBench {
 public:
  void add_options(CLI::App& app);

  /// One row for each length. Collective; throws where a sum is wrong.
  nlohmann::json run(const Session& session, int repeats) const;

 private:
  std::vector<long> bytes_ = {1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22};
};

}  // namespace hack::jobs
