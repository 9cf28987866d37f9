#pragma once

#include "comm/communicator.hpp"

namespace hack::jobs {

/// Measures the bytes a second that all ranks together read from memory: what decoding is bound by. Collective.
double measure_read_bandwidth(const comm::Communicator& world, int threads);

}  // namespace hack::jobs
