#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"

namespace hack::svd {

/// Does this rank's part of a phase; an exception on one rank becomes the same Error on all, of the first rank that
/// failed. So all leave together, and none waits in a collective for one that is gone. Collective.
template <class F>
void collective_try(const comm::Communicator& comm, F part) {
  std::string problem;
  try {
    part();
  } catch (const std::exception& error) {
    problem = std::string(error.what()) + '\n';
  }
  const std::vector<char> problems = comm::all_gather(comm, std::span<const char>(problem));
  if (!problems.empty()) throw Error(std::string(problems.begin(), std::find(problems.begin(), problems.end(), '\n')));
}

}  // namespace hack::svd
