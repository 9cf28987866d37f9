#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.hpp"

namespace hack::jobs {

/// What the ranks found out together.
struct GroupFacts {
  int ranks = 1, nodes = 1;
  bool sums_are_right = true;        ///< of an all-reduce
  double allreduce_seconds = 0;      ///< median for 16 KiB; 0 for one rank
  bool sees_same_folder = true;      ///< a file that rank 0 writes in its working folder is there for every rank
  std::string parallel_write_error;  ///< why an HDF5 file that all ranks write is not what was written; else empty
};

void to_json(nlohmann::json& json, const GroupFacts& facts);

/// Sums, and writes and reads small files in the working folder, which are gone afterwards. Collective.
GroupFacts check_group(const comm::Communicator& world);

}  // namespace hack::jobs
