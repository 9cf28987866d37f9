#pragma once

#include <optional>

#include "comm/communicator.hpp"
#include "kernels/dtype.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::comm {

/// Splits the time of this rank's collectives while it is on: waiting for the last rank of the group, and the exchange
/// itself. It puts a barrier before each collective, so what it times is a little slower than without.
class CollectiveTimer {
 public:
  struct Times {
    double wait = 0;      ///< seconds until all ranks had come
    double exchange = 0;  ///< seconds after that
    index_t calls = 0;
  };

  /// Starts from zero.
  static void start();
  /// Ends, and returns what was counted since start().
  static Times stop();

  /// Around one collective.
  class Scope {
   public:
    explicit Scope(const Communicator& comm);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::optional<Stopwatch> watch_;
  };

  /// Around waiting for other ranks that is no collective.
  class Wait {
   public:
    Wait();
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    std::optional<Stopwatch> watch_;
  };
};

}  // namespace hack::comm
