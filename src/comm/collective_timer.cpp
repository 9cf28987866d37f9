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
  {
    const Stopwatch::Scope timed(times.wait);
    HACK_MPI(MPI_Barrier(comm.native()));
  }
  watch_.emplace();
}

CollectiveTimer::Scope::~Scope() {
  if (!watch_) return;
  times.exchange += watch_->seconds();
  ++times.calls;
}

CollectiveTimer::Wait::Wait() {
  if (is_on) watch_.emplace();
}

CollectiveTimer::Wait::~Wait() {
  if (watch_) times.wait += watch_->seconds();
}

}  // namespace hack::comm
