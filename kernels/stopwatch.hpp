#pragma once

#include <chrono>

namespace hack {

/// The program's one clock: seconds since it was made or restarted, by a clock that never goes back.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  void restart() { start_ = Clock::now(); }

  /// Adds the seconds of its life to a sum: one of the phases of a longer work.
  class Scope;

 private:
  using Clock = std::chrono::steady_clock;

  Clock::time_point start_ = Clock::now();
};

class Stopwatch::Scope {
 public:
  /// `sum` outlives this.
  explicit Scope(double& sum) : sum_(sum) {}
  ~Scope() { sum_ += watch_.seconds(); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  double& sum_;  // seconds
  Stopwatch watch_;
};

}  // namespace hack
