#include "model/llama/phase_timer.hpp"

namespace hack::model {
namespace {

bool is_running = false;
PhaseTimer::Times times;

}  // namespace

void PhaseTimer::start() {
  times = {};
  is_running = true;
}

PhaseTimer::Times PhaseTimer::stop() {
  is_running = false;
  return times;
}

bool PhaseTimer::is_on() { return is_running; }

void PhaseTimer::add(Phase phase, double seconds) {
  (phase == Phase::weights ? times.weights : times.attention) += seconds;
}

}  // namespace hack::model
