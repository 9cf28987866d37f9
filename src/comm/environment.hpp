#pragma once

#include <string_view>

#include "comm/segment_names.hpp"

namespace hack::comm {

/// Starts MPI for the life of the object; works alone and under mpirun. Errors of MPI calls become exceptions.
class Environment {
 public:
  Environment(int& argc, char**& argv);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// Says what went wrong on this rank and ends all ranks with exit status 1. Rank 0 speaks first, so that what all
  /// ranks met is said once.
  [[noreturn]] static void abort(std::string_view message);

 private:
  SegmentNames segments_;
};

}  // namespace hack::comm
