#pragma once

#include <string>
#include <vector>

namespace hack::testing {

using Arguments = std::vector<std::string>;

inline Arguments operator+(Arguments left, const Arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

/// How a run of the program ended.
struct ProgramResult {
  int status;  ///< exit status; 128 + signal if it was killed; 124 if it outlasted its time
  std::string out;
  std::string err;
};

/// Runs `hack` with these arguments under `mpirun -n ranks` (0: alone), as a user does, and waits for its end.
/// After `seconds` everything is killed.
ProgramResult run_hack(int ranks, const Arguments& arguments, int seconds = 120);

/// The same for a shell command line in which $HACK is the program and $MPIRUN the launcher.
ProgramResult run_shell(const std::string& command, int seconds = 120);

}  // namespace hack::testing
