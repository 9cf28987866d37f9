#include <fmt/ranges.h>

#include "jobs/doctor/diagnosis.hpp"
#include "jobs/doctor/file_system.hpp"
#include "jobs/session/log.hpp"

namespace hack::jobs {
namespace {

/// {0, 1, 2, 5} -> "0-2, 5".
std::string ranges_of(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

std::string gpu_line(const RankFacts& facts) {
  if (!facts.gpu.empty()) {
    const std::string how = facts.mpi_device_memory == "yes"  ? "yes"
                            : facts.mpi_device_memory == "no" ? "no"
                                                              : "unknown";
    return fmt::format("{} at {}, {}; MPI takes GPU memory: {} (NCCL is used)", facts.gpu, facts.gpu_address,
                       facts.gpu_libraries, how);
  }
  if (!facts.gpu_built) return "none: the program was built without CUDA";
  return facts.gpu_error.empty() ? "some ranks have none" : "none: " + facts.gpu_error;
}

std::string cores_line(const RankFacts& facts) {
  const bool is_bound = static_cast<int>(facts.cores.size()) < facts.cores_online;
  std::string text = is_bound ? fmt::format("bound to cores {} of {}", ranges_of(facts.cores), facts.cores_online)
                              : fmt::format("not bound, {} cores", facts.cores_online);
  text += fmt::format("; {} thread{} of this rank, {} rank{} on the node", facts.threads, facts.threads == 1 ? "" : "s",
                      facts.node_ranks, facts.node_ranks == 1 ? "" : "s");
  if (facts.core_quota > 0) text += fmt::format("; the container's limit is {:.3g} cores", facts.core_quota);
  return text;
}

std::string memory_line(const RankFacts& facts) {
  std::string text = fmt::format("{}", format_bytes(facts.memory));
  if (facts.memory_limit > 0) text += fmt::format(", limit {}", format_bytes(facts.memory_limit));
  if (!facts.has_shared_memory) return text + "; no /dev/shm";
  return text + fmt::format("; /dev/shm {}", format_bytes(facts.shared_memory));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> lines_of(const RankFacts& facts) {
  const std::string locking = facts.hdf5_locking.empty() ? "not set" : facts.hdf5_locking;
  return {
      {"program", facts.program},
      {"host", facts.host},
      {"MPI",
       fmt::format("{} (MPI {}), threads {}, {}", facts.mpi, facts.mpi_standard, facts.mpi_threads, facts.launcher)},
      {"CPU", fmt::format("{}: {}", facts.cpu.empty() ? "unknown" : facts.cpu, fmt::join(facts.instructions, " "))},
      {"cores", cores_line(facts)},
      {"BLAS", fmt::format("{}; kernels {}", facts.blas, facts.blas_core)},
      {"GPU", gpu_line(facts)},
      {"HDF5", fmt::format("{}, parallel; HDF5_USE_FILE_LOCKING {}, file locks {}", facts.hdf5_loaded, locking,
                           facts.lock_error.empty() ? "work" : "fail: " + facts.lock_error)},
      {"memory", memory_line(facts)},
      {"folder", fmt::format("{} on {}{}", facts.folder, facts.file_system,
                             is_network_file_system(facts.file_system) ? " (network)" : "")},
  };
}

std::string rank_list(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", ranges_of(ranks));
}

}  // namespace hack::jobs
