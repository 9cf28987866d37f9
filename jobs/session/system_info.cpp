#include "jobs/session/system_info.hpp"

#include <H5public.h>
#include <malloc.h>
#include <mpi.h>
#include <openblas_config.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <thread>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "jobs/session/library_settings.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"

extern "C" char* openblas_get_corename(void);
extern "C" char* openblas_get_config(void);

namespace hack::jobs {
namespace {

int cores_in_mask() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return static_cast<int>(std::thread::hardware_concurrency());
  return CPU_COUNT(&mask);
}

/// A rank's cores, and the start of its kernel, which tells machines apart where host names do not.
struct RankCores {
  char boot[40] = {};
  cpu_set_t mask;
};

}  // namespace

std::string cpu_info(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0 && line.find(':') != std::string::npos) return line.substr(line.find(':') + 2);
  }
  return {};
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

int cores_together(const comm::Communicator& group) {
  RankCores mine;
  std::ifstream("/proc/sys/kernel/random/boot_id").read(mine.boot, sizeof(mine.boot) - 1);
  CPU_ZERO(&mine.mask);
  sched_getaffinity(0, sizeof(mine.mask), &mine.mask);
  std::map<std::string, cpu_set_t> machines;
  for (const RankCores& rank : comm::all_gather<RankCores>(group, std::span(&mine, 1))) {
    const auto [at, is_new] = machines.try_emplace(std::string(rank.boot, sizeof(rank.boot)), rank.mask);
    if (!is_new) CPU_OR(&at->second, &at->second, &rank.mask);
  }
  int cores = 0;
  for (const auto& [boot, mask] : machines) cores += CPU_COUNT(&mask);
  return std::max(1, cores);
}

int usable_cores(const comm::Communicator& world) {
  const comm::Communicator node = world.split_by_node();
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const int mine = cores_in_mask();
  // A rank whose mask spans the whole node shares it with its neighbours; a bound one has its mask to itself.
  return std::max(1, mine < online ? mine : online / node.size());
}

void check_launcher(const comm::Communicator& world) {
  const char* started = std::getenv("SLURM_STEP_NUM_TASKS");
  if (world.size() > 1 || started == nullptr || std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return;
  validate(
      std::atoi(started) <= 1,
      "Slurm started {} programs, and MPI sees 1: they do not know each other; start them with srun --mpi=pmix (srun "
      "--mpi=list shows what there is) or with mpirun, and one by itself with mpirun -n 1",
      started);
}

nlohmann::json describe_environment(const comm::Communicator& world, int threads, const char* device) {
  char mpi_version[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(mpi_version, &length);
  const comm::Communicator node = world.split_by_node();
  const double nodes = comm::all_reduce_sum(world, node.is_root() ? 1.0 : 0.0);
  return {
      {"ranks", world.size()},
      {"nodes", static_cast<int>(nodes)},
      {"threads", threads},
      {"device", device},
      {"host", host_name()},
      {"cpu", cpu_info("model name")},
      {"cores", static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN))},
      {"compiler", HACK_COMPILER},
      {"build_type", HACK_BUILD_TYPE},
      {"mpi", std::string(mpi_version).substr(0, std::string(mpi_version).find(','))},
      {"hdf5", fmt::format("{}.{}.{}", H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE)},
      {"blas", openblas_get_config()},
      {"blas_core", openblas_get_corename()},
      {"cuda", HACK_CUDA_ENABLED ? nlohmann::json("built") : nlohmann::json(nullptr)},
  };
}

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

void forget_peak_memory() {
  malloc_trim(0);  // what was freed is not resident any more
  std::ofstream("/proc/self/clear_refs") << 5;
}

std::string performance_warning(const comm::Communicator& world, int threads) {
  const std::string core = outdated_blas_core();
  if (!core.empty()) {
    return fmt::format(
        "OpenBLAS uses its {} kernels, older than this CPU (matrix products are 2 to 3 times slower); unset "
        "OPENBLAS_CORETYPE",
        core);
  }
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  if (world.size() == 1 && threads == 1 && cores_in_mask() < online) {
    return fmt::format("this one rank is bound to {} of {} cores; start it with mpirun --bind-to none", cores_in_mask(),
                       online);
  }
  return {};
}

}  // namespace hack::jobs
