#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "jobs/session/session.hpp"
#include "kernels/queue.hpp"

namespace hack::jobs {

/// A batch of random tiles that is timed.
struct SvdCase {
  index_t size = 128;   ///< of square tiles
  index_t vectors = 0;  ///< of each
  index_t tiles = 256;  ///< shared out over ranks
  std::string type = "f32";
  int repeats = 5;
  double product_rate = 0;  ///< operations a second, for the limit
};

/// Times tile_svd in turn with the library's SVD (kernels::library_svd), and checks the results of the timed runs.
/// Returns one row, on GPUs a second one of the library. Collective; throws where a result fails a check.
template <Device D>
nlohmann::json time_svd(const comm::Communicator& world, Queue<D>& queue, const SvdCase& of);

/// `hack bench svd`: factorizes batches of random tiles.
class SvdBench {
 public:
  void add_options(CLI::App& app);

  /// Rows for each tile size and number of vectors. Collective.
  nlohmann::json run(Session& session, int repeats) const;

 private:
  template <Device D>
  nlohmann::json run_on(const Session& session, int repeats) const;

  std::vector<long> sizes_ = {128};
  std::vector<long> vectors_ = {0, 32, 64, 128};
  std::string type_ = "f32";
  long tiles_ = 0;  // the device's
};

}  // namespace hack::jobs
