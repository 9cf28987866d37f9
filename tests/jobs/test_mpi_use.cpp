// How the program uses MPI, watched by support/mpi_checker: the same collectives on all ranks, nothing left at the end.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

/// Runs a line under the checker on two ranks; PROGRAM stands for what is started.
ProgramResult watched(const std::string& program, const std::string& arguments) {
  return run_shell(fmt::format("exec \"$MPIRUN\" -n 2 -x LD_PRELOAD='{}' {} {}", HACK_MPI_CHECKER, program, arguments),
                   60);
}

TEST(MpiChecker, FindsEachMisuse) {
  struct Misuse {
    const char* name;
    int status;
    const char* says;
  };
  for (const Misuse& misuse : {Misuse{"none", 0, ""},
                               {"other-call", 97,
                                "rank 1 calls MPI_Bcast, root 0, 4 bytes where rank 0 of the "
                                "communicator calls MPI_Barrier"},
                               {"other-root", 97, "rank 1 calls MPI_Bcast, root 1"},
                               {"other-size", 97, "rank 1 calls MPI_Allreduce, 8 bytes where rank 0"},
                               {"communicator", 98, "leaves 1 communicators of MPI_Comm_dup"},
                               {"window", 98, "leaves 1 windows of MPI_Win_allocate_shared"},
                               {"request", 98, "leaves 1 requests of MPI_Isend"}}) {
    const ProgramResult run = watched(HACK_MISUSED_MPI, misuse.name);
    EXPECT_EQ(run.status, misuse.status) << misuse.name << run.err;
    EXPECT_NE(run.err.find(misuse.says), std::string::npos) << misuse.name << run.err;
  }
}

TEST(MpiUse, IsCleanInEveryCommand) {
  const TemporaryDirectory folder;
  write_hf({}, folder / "model");
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("Sentence {} of a text that is long enough.\n", i);
  write_file(folder / "text", text);
  const std::string at = folder.path().string(), model = at + "/model", of_text = "--text " + at + "/text";
  const std::string fitted = " --calibration " + at + "/text --calibration-context 64 --tile 32 --threads 1";
  for (const std::string& arguments :
       {"compress " + model + " --output " + at + "/a.h5 --terms lowrank --keep 0.8 --refine 2" + fitted,
        "compress " + model + " --output " + at + "/b.h5 --keep 0.5" + fitted,
        "perplexity " + model + " --context 32 --windows 3 --tensor-parallel 1 " + of_text,
        "perplexity " + model + " --context 32 --windows 3 --archive " + at + "/a.h5 --divergence " + of_text,
        "generate " + model + " --prompt A --max-tokens 4 --archive " + at + "/b.h5",
        "sweep " + model + " --methods plain --keep 0.5 --evaluate-windows 1 --output " + at + "/s.csv " + of_text,
        "export " + model + " --format gguf --archive " + at + "/b.h5 --output " + at + "/m.gguf"}) {
    const ProgramResult run = watched("\"$HACK\"", arguments);
    EXPECT_EQ(run.status, 0) << arguments << run.err;
    EXPECT_EQ(run.err.find("mpi_checker"), std::string::npos) << arguments << run.err;
  }
}

}  // namespace
}  // namespace hack::testing
