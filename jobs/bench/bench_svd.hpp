#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "jobs/session/session.hpp"

namespace hack::jobs {

/// `hack bench svd`: factorizes batches of random tiles, tile by tile in turn with LAPACK's sgesdd, and checks what the
/// timed runs gave.
class SvdBench {
 public:
  void add_options(CLI::App& app);

  /// One row for each tile size and number of vectors. Collective; throws where an output fails a check.
  nlohmann::json run(const Session& session, int repeats) const;

 private:
  std::vector<long> sizes_ = {128};
  std::vector<long> vectors_ = {0, 32, 64, 128};
  std::string type_ = "f32";
  long tiles_ = 256;
};

}  // namespace hack::jobs
