#pragma once

#include <string>
#include <vector>

#include "jobs/report/run_file.hpp"

namespace hack::jobs {

/// Loss against stored bytes over all runs: perplexities and divergences of archives whose compression is among the
/// runs, of the dense model, of sweeps, and those that compressions measured themselves. Figures of different texts,
/// protocols and windows are different series. Empty where no run has such a figure.
std::string pictures_of_all(const std::vector<RunFile>& runs);

/// What a run's command is drawn as: bytes, ranks and errors over layers and matrices; rates beside their limits; time
/// against rank; speed-up against ranks. Empty where there is nothing to draw.
std::string pictures_of(const RunFile& run);

}  // namespace hack::jobs
