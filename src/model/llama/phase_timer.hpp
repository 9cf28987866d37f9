#pragma once

#include <cstdint>
#include <optional>

#include "kernels/queue.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::model {

/// What a model's steps spend their time on, beside collectives (comm::CollectiveTimer) and small operations.
enum class Phase : std::uint8_t {
  weights,    ///< products with matrices of weights, the head's among them
  attention,  ///< over the cache, without its projections
};

/// Splits the time of this rank's steps while it is on. On a GPU it waits for the queue around each of them: what it
/// times is slower than without.
class PhaseTimer {
 public:
  struct Times {
    double weights = 0;    ///< seconds
    double attention = 0;  ///< seconds
  };

  /// Starts from zero.
  static void start();
  /// Ends, and returns what was counted since start().
  static Times stop();

  /// Around one operation on a queue.
  template <Device D>
  class Scope {
   public:
    Scope(Queue<D>& queue, Phase phase) : queue_(queue), phase_(phase) {
      if (!is_on()) return;
      queue_.wait();
      watch_.emplace();
    }
    ~Scope() {
      if (!watch_) return;
      queue_.wait();
      add(phase_, watch_->seconds());
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Queue<D>& queue_;
    Phase phase_;
    std::optional<Stopwatch> watch_;
  };

 private:
  static bool is_on();
  static void add(Phase phase, double seconds);
};

}  // namespace hack::model
