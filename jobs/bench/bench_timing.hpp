#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {

/// Seconds of the slowest rank.
template <class Work>
double time_together(const comm::Communicator& world, const Work& work) {
  world.barrier();
  const Stopwatch watch;
  work();
  return comm::all_reduce_max(world, watch.seconds());
}

/// Statistics of repeated runs.
struct Times {
  double median = 0, least = 0, most = 0;
  double p99 = 0;  ///< the smallest time that 99 of 100 runs do not exceed

  static Times of(std::vector<double> seconds) {
    std::sort(seconds.begin(), seconds.end());
    const auto n = seconds.size();
    const auto rank = static_cast<std::size_t>(std::ceil(0.99 * static_cast<double>(n)));
    return {seconds[n / 2], seconds.front(), seconds.back(), seconds[rank - 1]};
  }

  /// seconds, seconds_min, seconds_max, seconds_p99
  void add_to(nlohmann::json& row) const {
    row["seconds"] = median;
    row["seconds_min"] = least;
    row["seconds_max"] = most;
    row["seconds_p99"] = p99;
  }
};

}  // namespace hack::jobs
