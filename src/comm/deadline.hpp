#pragma once

#include <string>

namespace hack::comm {

/// Ends the run when one collective takes longer than the deadline: MPI itself never notices a peer that hangs.
class Deadline {
 public:
  static constexpr int any = -1;

  /// Watches from now on; a thread looks every 100 ms. 0 or less seconds: waits forever. `remedy` ends the message: how
  /// to make the deadline longer.
  static void start(double seconds, const std::string& remedy = "make the deadline longer");
  static void stop();

  /// Marks the time during which this rank waits for others in `operation` (a literal): for this rank of the run, or
  /// (any) for whichever comes last. Waits do not nest.
  class Wait {
   public:
    explicit Wait(const char* operation, int rank = any);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
  };
};

}  // namespace hack::comm
