#pragma once

#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "jobs/study/energy_meter.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {

/// Joules of the GPUs of a group of ranks, each GPU counted once however many ranks share it.
class GroupEnergy {
 public:
  /// `gpu`: PCI address of this rank's; empty where it has none. Of times below `shortest` seconds the counters, which
  /// cards update every 20 to 100 ms, say nothing. All outlive this. Collective.
  GroupEnergy(const comm::Communicator& group, const EnergyMeter& meter, std::string gpu, double shortest = 1);

  void start();
  /// Joules since start(), of all GPUs; nothing where a rank has none, one does not tell, or the time was too short.
  /// The same on every rank. Collective.
  std::optional<double> stop() const;

 private:
  const comm::Communicator& group_;
  const EnergyMeter& meter_;
  std::string gpu_;
  double shortest_;
  bool counts_;  // this rank is the first with its GPU
  std::optional<double> before_;
  Stopwatch watch_;
};

}  // namespace hack::jobs
