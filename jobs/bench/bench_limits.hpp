#pragma once

#include "comm/communicator.hpp"
#include "kernels/dtype.hpp"
#include "kernels/queue.hpp"

namespace hack::jobs {

// Limits of the hardware that benches compare their figures with. Collective: all ranks measure at once, and their
// rates are summed.

/// Bytes a second from memory: of reading on CPUs, of sums of vectors (two read, one written) on GPUs.
template <Device D>
double measure_bandwidth(const comm::Communicator& world, Queue<D>& queue);

/// Operations a second of one large dense product whose weights are of this type: what products are bound by.
template <Device D>
double measure_product_rate(const comm::Communicator& world, Queue<D>& queue, DType type);

}  // namespace hack::jobs
