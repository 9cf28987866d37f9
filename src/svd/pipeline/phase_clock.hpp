#pragma once

#include <map>
#include <string>

#include "comm/collectives.hpp"
#include "kernels/stopwatch.hpp"
#include "svd/pipeline/collective_try.hpp"

namespace hack::svd {

/// Where the time of a collective run goes: seconds of each phase, and seconds that this rank waits for others.
class PhaseClock {
 public:
  /// `comm` outlives this.
  explicit PhaseClock(const comm::Communicator& comm) : comm_(comm) {}

  /// Does work of a phase.
  template <class F>
  auto measure(const std::string& phase, F work) {
    const Stopwatch::Scope scope(seconds_[phase]);
    return work();
  }

  /// Does this rank's part of a phase as collective_try() does. What other ranks take longer counts as waiting, not as
  /// part of the phase. Collective.
  template <class F>
  void measure_together(const std::string& phase, F part) {
    double& own = seconds_[phase];
    const double before = own;
    double all = 0;
    {
      const Stopwatch::Scope scope(all);
      collective_try(comm_, [&] { measure(phase, part); });
    }
    waited_ += all - (own - before);
  }

  /// Of this rank, so far.
  double seconds(const std::string& phase) { return seconds_[phase]; }
  double waited() const { return waited_; }
  double since_start() const { return all_.seconds(); }

  /// The phases, the same on every rank, with the seconds of the rank that took longest. Collective.
  std::map<std::string, double> slowest() const {
    std::map<std::string, double> out;
    for (const auto& [phase, seconds] : seconds_) out[phase] = comm::all_reduce_max(comm_, seconds);
    return out;
  }

 private:
  const comm::Communicator& comm_;
  Stopwatch all_;
  std::map<std::string, double> seconds_;
  double waited_ = 0;
};

}  // namespace hack::svd
