#include "jobs/doctor/diagnosis.hpp"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "jobs/doctor/file_system.hpp"
#include "jobs/session/log.hpp"

namespace hack::jobs {
namespace {

constexpr double mebibyte = 1024 * 1024;
constexpr double gibibyte = 1024 * mebibyte;
/// Open MPI 4 takes 4 MiB a rank for messages through shared memory, and the program's own sums a little beside.
constexpr double shared_memory_of_a_rank = 8 * mebibyte;
/// A program without a model takes a tenth of it.
constexpr double least_memory_of_a_rank = 0.5 * gibibyte;
/// Of 16 KiB within a node: 0.005 to 0.07 ms where ranks have cores of their own or yield, 16 ms where they do not.
constexpr double slow_allreduce_seconds = 2e-3;

/// Findings, equal ones of several ranks as one.
class Findings {
 public:
  void warn(int rank, const std::string& what, const std::string& advice) { add(false, rank, what, advice); }
  void fail_for(int rank, const std::string& what, const std::string& advice) { add(true, rank, what, advice); }

  std::vector<Finding> take() {
    std::stable_partition(all_.begin(), all_.end(), [](const Finding& finding) { return finding.ends_runs; });
    return std::move(all_);
  }

 private:
  void add(bool ends_runs, int rank, const std::string& what, const std::string& advice) {
    const auto same = std::find_if(all_.begin(), all_.end(), [&](const Finding& finding) {
      return finding.what == what && finding.advice == advice;
    });
    if (same == all_.end()) {
      all_.push_back({ends_runs, what, advice, {rank}});
    } else {
      same->ranks.push_back(rank);
    }
  }

  std::vector<Finding> all_;
};

void check_cpu(const RankFacts& facts, Findings& findings) {
  const auto cores = static_cast<int>(facts.cores.size());
  if (!facts.outdated_blas_core.empty()) {
    findings.warn(
        facts.rank,
        fmt::format("OpenBLAS uses its {} kernels, older than this CPU: matrix products are 2 to 3 times slower",
                    facts.outdated_blas_core),
        "unset OPENBLAS_CORETYPE, or use a newer OpenBLAS");
  }
  if (facts.program.find("(Release") == std::string::npos && facts.program.find("(RelWith") == std::string::npos) {
    findings.warn(facts.rank, "the program was built without optimization",
                  "cmake --preset release && cmake --build --preset release");
  }
  if (facts.threads > cores) {
    findings.warn(facts.rank, fmt::format("{} threads run on {} cores", facts.threads, cores),
                  "leave --threads out, or give each rank more cores (mpirun --map-by slot:PE=N --bind-to core)");
  }
  if (facts.node_ranks == 1 && cores == 1 && facts.cores_online > 1) {
    findings.warn(facts.rank, fmt::format("the only rank is bound to 1 of {} cores", facts.cores_online),
                  "start it with mpirun --bind-to none, or without mpirun");
  }
  const int wanted = facts.threads * facts.node_ranks;
  if (facts.core_quota > 0 && facts.core_quota + 0.01 < wanted) {
    findings.warn(
        facts.rank,
        fmt::format("the container may use {:.2g} cores' time, and {} threads run in it", facts.core_quota, wanted),
        "raise its CPU limit, or give fewer ranks or --threads");
  } else if (wanted > facts.cores_online && !facts.yields) {
    findings.warn(facts.rank,
                  fmt::format("{} ranks with {} threads in all share {} cores, and waiting ranks keep theirs busy",
                              facts.node_ranks, wanted, facts.cores_online),
                  "start fewer ranks, or source jobs/environment.sh (OMPI_MCA_mpi_yield_when_idle=1)");
  }
}

void check_memory(const RankFacts& facts, Findings& findings) {
  const double limit = facts.memory_limit > 0 ? facts.memory_limit : facts.memory_available;
  const double each = std::min(limit, facts.memory_available) / facts.node_ranks;
  if (facts.memory_available > 0 && each < least_memory_of_a_rank) {
    findings.warn(facts.rank, fmt::format("{} of memory are left for each rank", format_bytes(each)),
                  "end other programs, start fewer ranks on the node, or raise the job's memory limit");
  }
  if (facts.node_ranks == 1) return;
  const std::string advice = "give the container more (docker run --shm-size=1g, or --ipc=host)";
  if (!facts.has_shared_memory) {
    findings.warn(facts.rank, "there is no /dev/shm: ranks of a node exchange data through files or the network",
                  advice);
  } else if (facts.shared_memory_free < shared_memory_of_a_rank * facts.node_ranks) {
    findings.warn(
        facts.rank,
        fmt::format("/dev/shm has {} left for {} ranks, which take up to {} each: they may die with a bus error",
                    format_bytes(facts.shared_memory_free), facts.node_ranks, format_bytes(shared_memory_of_a_rank)),
        advice);
  }
}

void check_files(const RankFacts& facts, int nodes, Findings& findings) {
  if (!facts.folder_error.empty()) {
    findings.warn(facts.rank, fmt::format("nothing can be written in {} ({})", facts.folder, facts.folder_error),
                  "start in a folder that you may write, or name one by --output and --report");
  } else if (facts.folder_free < gibibyte) {
    findings.warn(facts.rank, fmt::format("{} has {} left", facts.folder, format_bytes(facts.folder_free)),
                  "make room before a large archive is written: it takes up to the bytes of the model");
  }
  const bool locks = facts.hdf5_locking != "FALSE" && facts.hdf5_locking != "0";
  if (!facts.lock_error.empty() && locks) {
    findings.warn(facts.rank,
                  fmt::format("files in {} ({}) cannot be locked ({}): HDF5 will not open archives there", facts.folder,
                              facts.file_system, facts.lock_error),
                  "export HDF5_USE_FILE_LOCKING=FALSE (to all ranks: mpirun -x HDF5_USE_FILE_LOCKING)");
  }
  if (nodes > 1 && is_memory_file_system(facts.file_system)) {
    findings.warn(facts.rank, fmt::format("{} is in the memory of one node", facts.folder),
                  "write archives to a file system that all nodes see");
  }
  if (nodes > 1 && facts.file_system.starts_with("nfs")) {
    findings.warn(facts.rank,
                  fmt::format("{} is on NFS: ranks of several nodes write one file slowly there", facts.folder),
                  "write archives to a parallel file system (Lustre, GPFS, BeeGFS) where there is one");
  }
  if (facts.open_files > 0 && facts.open_files < 256) {
    findings.warn(facts.rank, fmt::format("a process may open {:.0f} files; a model has up to 200", facts.open_files),
                  "raise it: ulimit -n 4096");
  }
  if (facts.hdf5_built != facts.hdf5_loaded) {
    findings.fail_for(
        facts.rank,
        fmt::format("the program was built with HDF5 {} and runs with {}", facts.hdf5_built, facts.hdf5_loaded),
        "load the module it was built with, or build it anew");
  }
}

void check_gpu(const RankFacts& facts, Findings& findings) {
  if (!facts.gpu_built && !facts.gpu_driver.empty()) {
    findings.warn(facts.rank, "the machine has NVIDIA's driver, and the program was built without CUDA",
                  "cmake --preset cuda && cmake --build --preset cuda");
  } else if (facts.gpu_built && !facts.gpu_error.empty()) {
    findings.warn(facts.rank, fmt::format("no GPU can be used: {}", facts.gpu_error),
                  "check nvidia-smi, CUDA_VISIBLE_DEVICES and the job's --gpus-per-node; the CPU works all the same");
  }
  if (facts.gpu_is_shared) {
    findings.warn(facts.rank, "ranks share a GPU: their sums go through host memory",
                  "start as many ranks on a node as it has GPUs; never time this");
  }
}

/// Bound ranks of a node that have fewer cores together than threads: bound to the same cores by mistake.
void check_binding(const std::vector<RankFacts>& ranks, Findings& findings) {
  for (const RankFacts& one : ranks) {
    if (static_cast<int>(one.cores.size()) >= one.cores_online) continue;
    const std::set<int> mine(one.cores.begin(), one.cores.end());
    std::set<int> cores = mine;
    int threads = 0, sharing = 0;
    for (const RankFacts& other : ranks) {
      const bool overlaps = other.host == one.host && std::any_of(other.cores.begin(), other.cores.end(),
                                                                  [&](int core) { return mine.contains(core); });
      if (!overlaps) continue;
      cores.insert(other.cores.begin(), other.cores.end());
      threads += other.threads;
      ++sharing;
    }
    if (sharing > 1 && threads > static_cast<int>(cores.size())) {
      findings.warn(
          one.rank,
          fmt::format("{} ranks are bound to the same {} of {} cores", sharing, cores.size(), one.cores_online),
          "bind them apart (mpirun --map-by slot:PE=THREADS --bind-to core), or not at all (--bind-to none)");
    }
  }
}

void check_equal(const std::vector<RankFacts>& ranks, std::string RankFacts::*member, const std::string& what,
                 const std::string& advice, bool ends_runs, Findings& findings) {
  for (const RankFacts& facts : ranks) {
    if (facts.*member == ranks.front().*member) continue;
    const std::string text = fmt::format("{}: {} here, {} on rank 0", what, facts.*member, ranks.front().*member);
    if (ends_runs) findings.fail_for(facts.rank, text, advice);
    if (!ends_runs) findings.warn(facts.rank, text, advice);
  }
}

void check_together(const std::vector<RankFacts>& ranks, const GroupFacts& group, Findings& findings) {
  if (!group.sums_are_right) {
    findings.fail_for(0, "sums over the ranks are wrong", "check MPI's installation and network, without this program");
  }
  if (group.nodes == 1 && group.allreduce_seconds > slow_allreduce_seconds) {
    findings.warn(0,
                  fmt::format("a sum of 16 KiB over the ranks takes {:.1f} ms (0.07 where ranks have cores)",
                              group.allreduce_seconds * 1e3),
                  "start one rank a core on a machine without other work, or source jobs/environment.sh");
  }
  if (!group.sees_same_folder) {
    findings.fail_for(0, fmt::format("not every rank sees what rank 0 writes in {}", ranks.front().folder),
                      "start in a folder of a file system that all nodes share");
  }
  if (!group.parallel_write_error.empty() && ranks.front().folder_error.empty()) {
    findings.fail_for(0,
                      fmt::format("an HDF5 file that all ranks write in {} does not hold what they wrote ({})",
                                  ranks.front().folder, group.parallel_write_error),
                      "start in a folder of another file system, or check MPI-IO (OMPI_MCA_io)");
  }
}

}  // namespace

std::vector<Finding> diagnose(const std::vector<RankFacts>& ranks, const GroupFacts& group) {
  Findings findings;
  for (const RankFacts& facts : ranks) {
    check_cpu(facts, findings);
    check_memory(facts, findings);
    check_files(facts, group.nodes, findings);
    check_gpu(facts, findings);
  }
  check_binding(ranks, findings);
  const std::string same = "install one build on all nodes, and load the same modules";
  check_equal(ranks, &RankFacts::program, "another program", same, true, findings);
  check_equal(ranks, &RankFacts::mpi, "another MPI", same, true, findings);
  check_equal(ranks, &RankFacts::hdf5_loaded, "another HDF5", same, true, findings);
  check_equal(ranks, &RankFacts::blas_core, "OpenBLAS uses other kernels", "ask for nodes of one kind", false,
              findings);
  check_equal(ranks, &RankFacts::cpu, "another CPU", "ask for nodes of one kind: the slowest sets the pace", false,
              findings);
  check_together(ranks, group, findings);
  return findings.take();
}

}  // namespace hack::jobs
