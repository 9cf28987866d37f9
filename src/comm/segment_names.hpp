#pragma once

#include <string>
#include <vector>

namespace hack::comm {

/// Takes away the names of the memory that Open MPI shares among the ranks of a node, once all of them have mapped it.
/// Open MPI keeps a name (/dev/shm/vader_segment…, sm_segment… from version 5 on) until MPI_Finalize, so that ranks
/// that are killed together with their launcher leave their segments, 4 MB each, for the life of the machine. Memory
/// without a name goes with its last process.
class SegmentNames {
 public:
  /// Between MPI_Init and whatever follows. Where a rank has not mapped all segments of its node yet, names stay.
  /// Collective over all ranks.
  void take_away();
  /// Before MPI_Finalize, which removes its names and complains where they are gone: puts empty files in their places.
  void put_back() const;

 private:
  std::vector<std::string> paths_;
};

}  // namespace hack::comm
