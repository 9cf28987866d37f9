#include "comm/segment_names.hpp"

#include <fcntl.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "comm/error.hpp"

namespace hack::comm {
namespace {

/// Open MPI's segments that this process has mapped and that have a name.
std::vector<std::string> mapped_segments() {
  std::vector<std::string> paths;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t begin = line.find("/dev/shm/");
    if (begin == std::string::npos || line.ends_with(" (deleted)")) continue;
    const std::string path = line.substr(begin);
    if (path.find("/vader_segment.") == std::string::npos && path.find("/sm_segment.") == std::string::npos) continue;
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
  }
  return paths;
}

}  // namespace

void SegmentNames::take_away() {
  const char* const ranks_of_node = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  paths_ = mapped_segments();
  int all_mapped = ranks_of_node != nullptr && std::ssize(paths_) == std::atoi(ranks_of_node) ? 1 : 0;
  HACK_MPI(MPI_Allreduce(MPI_IN_PLACE, &all_mapped, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD));
  if (all_mapped == 0) {
    paths_.clear();
    return;
  }
  for (const std::string& path : paths_) unlink(path.c_str());  // another rank of the node may have been first
}

void SegmentNames::put_back() const {
  for (const std::string& path : paths_) {
    const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (file >= 0) close(file);
  }
}

}  // namespace hack::comm
