// `hack doctor`: what is wrong is found, and a run on this machine says so.

#include <cstdlib>
#include <filesystem>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/doctor/diagnosis.hpp"
#include "jobs/doctor/file_system.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::testing {
namespace {

using jobs::Finding;
using jobs::GroupFacts;
using jobs::RankFacts;
using nlohmann::json;

/// A rank of a machine on which nothing is wrong.
RankFacts sound_rank(int rank) {
  RankFacts facts;
  facts.rank = rank;
  facts.program = "hack 1 (Release, GNU)";
  facts.host = "node";
  facts.node_ranks = 2;
  facts.mpi = "MPI 1";
  facts.cpu = "CPU";
  facts.cores_online = 4;
  facts.cores = {2 * rank, 2 * rank + 1};
  facts.threads = 2;
  facts.blas_core = "Kernels";
  facts.hdf5_built = facts.hdf5_loaded = "1.10.8";
  facts.memory = facts.memory_available = 1e11;
  facts.has_shared_memory = true;
  facts.shared_memory = facts.shared_memory_free = 1e10;
  facts.folder = "/work";
  facts.file_system = "ext4";
  facts.folder_free = 1e12;
  facts.open_files = 1024;
  return facts;
}

/// The findings where `change` has been made to both ranks.
template <class Change>
std::vector<Finding> findings_after(Change change) {
  std::vector<RankFacts> ranks = {sound_rank(0), sound_rank(1)};
  GroupFacts group;
  group.ranks = 2;
  for (RankFacts& facts : ranks) change(facts, group);
  return jobs::diagnose(ranks, group);
}

TEST(Diagnosis, FindsNothingWhereNothingIsWrong) {
  EXPECT_TRUE(findings_after([](RankFacts&, GroupFacts&) {}).empty());
}

TEST(Diagnosis, SaysWhatIsWrongAndWhatToDo) {
  struct Case {
    const char* what;
    const char* advice;
    bool ends_runs;
    void (*change)(RankFacts&, GroupFacts&);
  };
  const Case cases[] = {
      {"Prescott", "OPENBLAS_CORETYPE", false, [](RankFacts& f, GroupFacts&) { f.outdated_blas_core = "Prescott"; }},
      {"without optimization", "release", false, [](RankFacts& f, GroupFacts&) { f.program = "hack 1 (Debug, GNU)"; }},
      {"9 threads run on 2 cores", "--threads", false,
       [](RankFacts& f, GroupFacts&) { f.threads = 9, f.yields = true; }},
      {"waiting ranks", "OMPI_MCA_mpi_yield_when_idle", false,
       [](RankFacts& f, GroupFacts&) {
         f.cores_online = 2, f.cores = {0, 1};
       }},
      {"bound to the same 2 of 4 cores", "--bind-to", false,
       [](RankFacts& f, GroupFacts&) {
         f.cores = {0, 1};
       }},
      {"container", "CPU limit", false, [](RankFacts& f, GroupFacts&) { f.core_quota = 1.5; }},
      {"of memory are left", "memory limit", false, [](RankFacts& f, GroupFacts&) { f.memory_available = 5e8; }},
      {"of memory are left", "memory limit", false, [](RankFacts& f, GroupFacts&) { f.memory_limit = 5e8; }},
      {"/dev/shm has 1.0 MiB left", "--shm-size", false,
       [](RankFacts& f, GroupFacts&) { f.shared_memory_free = 1024 * 1024; }},
      {"no /dev/shm", "--shm-size", false, [](RankFacts& f, GroupFacts&) { f.has_shared_memory = false; }},
      {"Read-only", "--output", false, [](RankFacts& f, GroupFacts&) { f.folder_error = "Read-only file system"; }},
      {"/work has", "make room", false, [](RankFacts& f, GroupFacts&) { f.folder_free = 1e6; }},
      {"cannot be locked", "HDF5_USE_FILE_LOCKING=FALSE", false,
       [](RankFacts& f, GroupFacts&) { f.lock_error = "Function not implemented"; }},
      {"NFS", "parallel file system", false, [](RankFacts& f, GroupFacts& g) { f.file_system = "nfs4", g.nodes = 2; }},
      {"memory of one node", "all nodes see", false,
       [](RankFacts& f, GroupFacts& g) { f.file_system = "tmpfs", g.nodes = 2; }},
      {"may open 64 files", "ulimit", false, [](RankFacts& f, GroupFacts&) { f.open_files = 64; }},
      {"HDF5 1.10.8 and runs with 1.14.0", "anew", true, [](RankFacts& f, GroupFacts&) { f.hdf5_loaded = "1.14.0"; }},
      {"without CUDA", "--preset cuda", false, [](RankFacts& f, GroupFacts&) { f.gpu_driver = "NVRM version"; }},
      {"no GPU can be used: none", "nvidia-smi", false,
       [](RankFacts& f, GroupFacts&) { f.gpu_built = true, f.gpu_error = "none"; }},
      {"share a GPU", "never time", false, [](RankFacts& f, GroupFacts&) { f.gpu_is_shared = true; }},
      {"sums over the ranks are wrong", "MPI", true, [](RankFacts&, GroupFacts& g) { g.sums_are_right = false; }},
      {"takes 16.0 ms", "environment.sh", false, [](RankFacts&, GroupFacts& g) { g.allreduce_seconds = 0.016; }},
      {"not every rank sees", "share", true, [](RankFacts&, GroupFacts& g) { g.sees_same_folder = false; }},
      {"does not hold what they wrote", "MPI-IO", true,
       [](RankFacts&, GroupFacts& g) { g.parallel_write_error = "what rank 1 wrote is not in the file"; }},
  };
  for (const Case& one : cases) {
    const std::vector<Finding> findings = findings_after(one.change);
    ASSERT_EQ(findings.size(), 1U) << one.what;
    EXPECT_NE(findings[0].what.find(one.what), std::string::npos) << findings[0].what;
    EXPECT_NE(findings[0].advice.find(one.advice), std::string::npos) << findings[0].advice;
    EXPECT_EQ(findings[0].ends_runs, one.ends_runs) << one.what;
  }
}

TEST(Diagnosis, NamesTheRanksThatDiffer) {
  std::vector<RankFacts> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.push_back(sound_rank(rank));
    ranks.back().cores_online = 8;
  }
  ranks[1].blas_core = ranks[2].blas_core = "Older";
  ranks[3].mpi = "MPI 2";
  const std::vector<Finding> findings = jobs::diagnose(ranks, {.ranks = 4});
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_TRUE(findings[0].ends_runs);  // these come first
  EXPECT_EQ(findings[0].what, "another MPI: MPI 2 here, MPI 1 on rank 0");
  EXPECT_EQ(jobs::rank_list(findings[0].ranks), "rank 3");
  EXPECT_EQ(jobs::rank_list(findings[1].ranks), "ranks 1-2");
  EXPECT_EQ(jobs::rank_list({0, 1, 2, 5}), "ranks 0-2, 5");
}

TEST(FileSystem, IsNamed) {
  EXPECT_EQ(jobs::file_system_name("/proc/self"), "proc");
  EXPECT_NE(jobs::file_system_name("/"), "unknown");
  EXPECT_TRUE(jobs::is_network_file_system("lustre"));
  EXPECT_TRUE(jobs::is_network_file_system("fuse.sshfs"));
  EXPECT_FALSE(jobs::is_network_file_system("ext4"));
}

TEST(Doctor, SaysWhatRanksSeeAndLeavesNothingBehind) {
  const TemporaryDirectory folder;
  const std::string report = (folder / "doctor.json").string();
  const std::string run = fmt::format("mkdir {0}/in && cd {0}/in && $MPIRUN -n 2 $HACK doctor --report {1} && ls -A",
                                      folder.path().string(), report);
  const ProgramResult result = run_shell(run);
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* subject : {"MPI", "CPU", "cores", "BLAS", "GPU", "HDF5", "memory", "folder", "usable"}) {
    EXPECT_NE(result.out.find(fmt::format("\n{}", subject)), std::string::npos) << subject << "\n" << result.out;
  }
  EXPECT_EQ(result.out.find(".hack-doctor"), std::string::npos) << result.out;
  const json read = json::parse(read_file(report));
  EXPECT_EQ(read["command"], "doctor");
  EXPECT_EQ(read["results"]["usable"], true);
  EXPECT_EQ(read["results"]["together"]["ranks"], 2);
  EXPECT_EQ(read["results"]["ranks"].size(), 2U);
}

TEST(Doctor, WarnsOfAnOldBlasAndEndsWithZero) {
#if defined(__x86_64__)
  const ProgramResult result = run_shell("OPENBLAS_CORETYPE=Prescott $HACK doctor --quiet");
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("warning: OpenBLAS uses its Prescott kernels"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("unset OPENBLAS_CORETYPE"), std::string::npos) << result.out;
#else
  GTEST_SKIP() << "OpenBLAS's kernels of x86-64";
#endif
}

}  // namespace
}  // namespace hack::testing
