#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.hpp"

namespace hack::jobs {

/// What one rank sees of its machine and libraries. Sizes in bytes; 0 where the system does not say or sets no limit.
struct RankFacts {
  int rank = 0;
  std::string program;  ///< version, build and compiler
  std::string host;
  int node_ranks = 1;  ///< ranks that share its memory
  std::string mpi, mpi_standard, mpi_threads;
  std::string mpi_device_memory;  ///< "yes", "no" or "unknown"
  std::string launcher;           ///< who started the ranks, in words
  bool yields = false;            ///< Open MPI was told to give up the core while it waits
  std::string cpu;
  std::vector<std::string> instructions;  ///< sets that products can use
  int cores_online = 1;
  std::vector<int> cores;  ///< that it may run on
  double core_quota = 0;   ///< of a container
  int threads = 1;
  std::string blas, blas_core;
  std::string outdated_blas_core;  ///< empty where its kernels suit the CPU
  std::string hdf5_built, hdf5_loaded;
  std::string hdf5_locking;  ///< HDF5_USE_FILE_LOCKING as the environment has it
  std::string lock_error;    ///< why a file of the folder cannot be locked; empty where it can
  double memory = 0, memory_available = 0, memory_limit = 0;
  bool has_shared_memory = false;
  double shared_memory = 0, shared_memory_free = 0;  ///< of /dev/shm
  std::string folder, file_system;
  double folder_free = 0;
  std::string folder_error;  ///< why no file can be written there; empty where one can
  double open_files = 0;     ///< limit
  bool gpu_built = false;
  std::string gpu_error;   ///< why GPUs cannot be used; empty where they can
  std::string gpu_driver;  ///< NVIDIA's, where one is loaded
  std::string gpu, gpu_address, gpu_libraries;
  bool gpu_is_shared = false;
};

void to_json(nlohmann::json& json, const RankFacts& facts);
void from_json(const nlohmann::json& json, RankFacts& facts);

/// Looks at this rank's machine; writes a file in the working folder for a moment. Collective.
RankFacts look_around(const comm::Communicator& world, int threads);

/// Every rank's facts on rank 0, in rank order; nothing elsewhere. Collective.
std::vector<RankFacts> gather_facts(const comm::Communicator& world, const RankFacts& mine);

}  // namespace hack::jobs
