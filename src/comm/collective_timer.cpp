#include "comm/collective_timer.hpp"

#include "comm/deadline.hpp"
#include "comm/error.hpp"

namespace hack::comm {
namespace {

bool is_on = false;
CollectiveTimer::Times times;

}  // namespace

void CollectiveTimer::start() {
  times = {};
  is_on = true;
}

CollectiveTimer::Times CollectiveTimer::stop() {
  is_on = false;
  return times;
}

CollectiveTimer::Scope::Scope(const Communicator& comm) {
  if (!is_on) return;
  const Deadline::Wait wait("MPI_Barrier");
  const double start = MPI_Wtime();
  HACK_MPI(MPI_Barrier(comm.native()));
  begin_ = MPI_Wtime();
  times.wait += begin_ - start;
}

CollectiveTimer::Scope::~Scope() {
  if (!is_on) return;
  times.exchange += MPI_Wtime() - begin_;
  ++times.calls;
}

CollectiveTimer::Wait::Wait() : begin_(is_on ? MPI_Wtime() : 0) {}

CollectiveTimer::Wait::~Wait() {
  if (is_on) times.wait += MPI_Wtime() - begin_;
}

}  // namespace hack::comm
