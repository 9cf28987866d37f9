#include "jobs/doctor/rank_facts.hpp"

#include <fcntl.h>
#include <hdf5.h>
#include <openblas_config.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "comm/gpu.hpp"
#include "comm/mpi_facts.hpp"
#include "jobs/doctor/file_system.hpp"
#include "jobs/session/library_settings.hpp"
#include "jobs/session/system_info.hpp"
#include "kernels/config.hpp"
#include "kernels/device.hpp"

extern "C" char* openblas_get_corename(void);
extern "C" char* openblas_get_config(void);

namespace hack::jobs {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string launched() {
  const std::string step = variable("SLURM_STEP_NUM_TASKS");
  const std::string job = variable("SLURM_JOB_ID").empty() ? "" : ", in a Slurm job";
  // Inside a Slurm step mpirun starts its daemons by srun: then both have set their variables.
  if (!variable("OMPI_COMM_WORLD_SIZE").empty()) return "started by mpirun" + job;
  return (step.empty() ? "started without a launcher" : "started by srun") + job;
}

/// Instruction sets that the program's products and OpenBLAS have kernels for, as the kernel names them.
std::vector<std::string> instruction_sets() {
  const std::string line = " " + cpu_info("flags") + " " + cpu_info("Features") + " ";
  std::vector<std::string> found;
  for (const char* set : {"avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
                          "asimd", "asimddp", "sve", "i8mm", "bf16"}) {
    if (line.find(fmt::format(" {} ", set)) != std::string::npos) found.emplace_back(set);
  }
  return found;
}

void look_at_cores(RankFacts& facts) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof(mask), &mask);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &mask)) facts.cores.push_back(core);
  }
  facts.cores_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  facts.cpu = cpu_info("model name");
  facts.instructions = instruction_sets();
  // "max 100000", or microseconds in a period (control groups, version 2)
  std::istringstream quota(first_line("/sys/fs/cgroup/cpu.max"));
  double most = 0, period = 0;
  if (quota >> most >> period && period > 0) facts.core_quota = most / period;
}

/// Bytes behind a key of /proc/meminfo.
double meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key + ":", 0) == 0) return std::strtod(line.c_str() + key.size() + 1, nullptr) * 1024;
  }
  return 0;
}

void look_at_memory(RankFacts& facts) {
  facts.memory = meminfo("MemTotal");
  facts.memory_available = meminfo("MemAvailable");
  facts.memory_limit = std::strtod(first_line("/sys/fs/cgroup/memory.max").c_str(), nullptr);  // "max": 0
  struct statvfs room {};
  facts.has_shared_memory = statvfs("/dev/shm", &room) == 0;
  if (facts.has_shared_memory) {
    facts.shared_memory = static_cast<double>(room.f_blocks) * static_cast<double>(room.f_frsize);
    facts.shared_memory_free = static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
  }
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
    facts.open_files = static_cast<double>(files.rlim_cur);
  }
}

void look_at_folder(RankFacts& facts) {
  std::error_code error;
  const fs::path folder = fs::current_path(error);
  facts.folder = folder.string();
  facts.file_system = file_system_name(folder);
  struct statvfs room {};
  if (statvfs(folder.c_str(), &room) == 0) {
    facts.folder_free = static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
  }
  // The file has no name once it is made, so that nothing is left behind however this ends.
  std::string name = (folder / ".hack-doctor-XXXXXX").string();
  const int file = mkstemp(name.data());
  if (file < 0) {
    facts.folder_error = std::strerror(errno);
    return;
  }
  unlink(name.c_str());
  // The call that HDF5 makes where it opens a file to read.
  if (flock(file, LOCK_SH | LOCK_NB) != 0) facts.lock_error = std::strerror(errno);
  close(file);
}

void look_at_libraries(RankFacts& facts) {
  const comm::MpiFacts mpi = comm::mpi_facts();
  facts.mpi = mpi.library;
  facts.mpi_standard = mpi.standard;
  facts.mpi_threads = mpi.threads;
  facts.mpi_device_memory = !mpi.takes_device_memory ? "unknown" : *mpi.takes_device_memory ? "yes" : "no";
  facts.launcher = launched();
  facts.yields = variable("OMPI_MCA_mpi_yield_when_idle") == "1" || variable("OMPI_MCA_mpi_yield_when_idle") == "true";
  facts.blas = openblas_get_config();
  facts.blas_core = openblas_get_corename();
  facts.outdated_blas_core = outdated_blas_core();
  facts.hdf5_built = fmt::format("{}.{}.{}", H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  facts.hdf5_loaded = fmt::format("{}.{}.{}", major, minor, release);
  facts.hdf5_locking = variable("HDF5_USE_FILE_LOCKING");
}

/// Collective: GPUs are dealt to ranks together, where each rank can use one.
void look_at_gpus(const comm::Communicator& world, RankFacts& facts) {
  facts.gpu_built = HACK_CUDA_ENABLED;
  facts.gpu_error = kernels::why_unavailable(Device::cuda);
  facts.gpu_driver = first_line("/proc/driver/nvidia/version");
  const double without = comm::all_reduce_sum(world, facts.gpu_error.empty() ? 0.0 : 1.0);
  if (without > 0) return;
  const comm::GpuChoice choice = comm::choose_gpu(world);
  facts.gpu = choice.name;
  facts.gpu_address = choice.address;
  facts.gpu_libraries = choice.libraries;
  facts.gpu_is_shared = choice.is_shared;
}

/// Calls visit(name, member) for every member; Facts is RankFacts, const or not.
template <class Facts, class Visit>
void for_each_member(Facts& facts, Visit visit) {
  visit("rank", facts.rank);
  visit("program", facts.program);
  visit("host", facts.host);
  visit("node_ranks", facts.node_ranks);
  visit("mpi", facts.mpi);
  visit("mpi_standard", facts.mpi_standard);
  visit("mpi_threads", facts.mpi_threads);
  visit("mpi_device_memory", facts.mpi_device_memory);
  visit("launcher", facts.launcher);
  visit("yields", facts.yields);
  visit("cpu", facts.cpu);
  visit("instructions", facts.instructions);
  visit("cores_online", facts.cores_online);
  visit("cores", facts.cores);
  visit("core_quota", facts.core_quota);
  visit("threads", facts.threads);
  visit("blas", facts.blas);
  visit("blas_core", facts.blas_core);
  visit("outdated_blas_core", facts.outdated_blas_core);
  visit("hdf5_built", facts.hdf5_built);
  visit("hdf5_loaded", facts.hdf5_loaded);
  visit("hdf5_locking", facts.hdf5_locking);
  visit("lock_error", facts.lock_error);
  visit("memory", facts.memory);
  visit("memory_available", facts.memory_available);
  visit("memory_limit", facts.memory_limit);
  visit("has_shared_memory", facts.has_shared_memory);
  visit("shared_memory", facts.shared_memory);
  visit("shared_memory_free", facts.shared_memory_free);
  visit("folder", facts.folder);
  visit("file_system", facts.file_system);
  visit("folder_free", facts.folder_free);
  visit("folder_error", facts.folder_error);
  visit("open_files", facts.open_files);
  visit("gpu_built", facts.gpu_built);
  visit("gpu_error", facts.gpu_error);
  visit("gpu_driver", facts.gpu_driver);
  visit("gpu", facts.gpu);
  visit("gpu_address", facts.gpu_address);
  visit("gpu_libraries", facts.gpu_libraries);
  visit("gpu_is_shared", facts.gpu_is_shared);
}

}  // namespace

void to_json(nlohmann::json& json, const RankFacts& facts) {
  for_each_member(facts, [&](const char* name, const auto& member) { json[name] = member; });
}

void from_json(const nlohmann::json& json, RankFacts& facts) {
  for_each_member(facts, [&](const char* name, auto& member) { json.at(name).get_to(member); });
}

RankFacts look_around(const comm::Communicator& world, int threads) {
  RankFacts facts;
  facts.rank = world.rank();
  facts.program = fmt::format("hack {} ({}, {})", HACK_VERSION, HACK_BUILD_TYPE, HACK_COMPILER);
  facts.host = host_name();
  facts.node_ranks = world.split_by_node().size();
  facts.threads = threads;
  look_at_libraries(facts);
  look_at_cores(facts);
  look_at_memory(facts);
  look_at_folder(facts);
  look_at_gpus(world, facts);
  return facts;
}

std::vector<RankFacts> gather_facts(const comm::Communicator& world, const RankFacts& mine) {
  // Names of files need not be UTF-8.
  const std::string line = nlohmann::json(mine).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const std::vector<char> all = comm::gather(world, std::span<const char>(line));
  std::istringstream lines(std::string(all.begin(), all.end()));
  std::vector<RankFacts> facts;
  for (std::string text; std::getline(lines, text);) facts.push_back(nlohmann::json::parse(text).get<RankFacts>());
  return facts;
}

}  // namespace hack::jobs
