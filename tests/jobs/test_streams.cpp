// What surrounds a run: messages that nobody can read, answers that cannot be written, outputs that are pipes or links,
// signals that are ignored, launchers that do not introduce ranks to each other.

#include <algorithm>
#include <fstream>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;

class Streams : public ::testing::Test {
 protected:
  Streams() {
    write_hf({}, folder_ / "model");
    std::string text;
    for (int i = 0; i < 20; ++i) text += fmt::format("Sentence {} of a text that is long enough.\n", i);
    write_file(folder_ / "text", text);
  }

  /// Runs a line of shell in the folder. EVALUATE stands for a whole perplexity.
  ProgramResult shell(std::string line) const {
    const std::string evaluate = "\"$HACK\" perplexity model --text text --context 32 --windows 2";
    for (std::size_t at = 0; (at = line.find("EVALUATE", at)) != std::string::npos;) line.replace(at, 8, evaluate);
    return run_shell(fmt::format("cd '{}'\n{}", folder_.path().string(), line), 60);
  }

  std::string file(const std::string& name) const { return folder_ / name; }

  TemporaryDirectory folder_;
};

TEST_F(Streams, WorkGoesOnWithoutMessages) {
  const std::string answer = shell("EVALUATE").out;
  ASSERT_TRUE(answer.starts_with("perplexity ")) << answer;
  for (const char* way : {"2>/dev/full", "2>&-", "2> >(true)"}) {
    const ProgramResult run = shell(fmt::format("EVALUATE --report report {}", way));
    EXPECT_EQ(run.status, 0) << way << run.err;
    EXPECT_EQ(run.out, answer) << way;
    EXPECT_TRUE(nlohmann::json::parse(read_file(file("report"))).contains("results")) << way;
  }
}

TEST_F(Streams, ErrorsKeepTheirStatusWithoutMessages) {
  for (const char* way : {"2>/dev/full", "2>&-"}) {
    EXPECT_EQ(shell(fmt::format("\"$HACK\" inspect nowhere {}", way)).status, 1) << way;
    EXPECT_EQ(shell(fmt::format("\"$HACK\" inspekt model {}", way)).status, 2) << way;
  }
}

TEST_F(Streams, LostAnswersAreErrors) {
  // The reader of the last one has gone when the program begins.
  for (const char* way : {"EVALUATE --report report >/dev/full", "EVALUATE --report report >&-",
                          "exec 4> >(true)\nwait $!\nEVALUATE --report report >&4"}) {
    const ProgramResult run = shell(way);
    EXPECT_EQ(run.status, 1) << way;
    EXPECT_NE(run.err.find("standard output cannot be written"), std::string::npos) << way << run.err;
    EXPECT_TRUE(nlohmann::json::parse(read_file(file("report"))).contains("results")) << way;
  }
}

TEST_F(Streams, ListsMayBeCutByTheirReader) {
  std::string lines;
  for (int i = 0; i < 40000; ++i) lines += "a line of text\n";
  write_file(folder_ / "long", lines);
  const ProgramResult run = shell("set -o pipefail; \"$HACK\" tokenize model --text long | head -1");
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 1) << run.out;
  EXPECT_EQ(shell("\"$HACK\" tokenize model --text long > /dev/full").status, 1);
  EXPECT_NE(shell("\"$HACK\" tokenize model --text long > /dev/full").err, "");
}

TEST_F(Streams, OutputsThatArePipesAreWrittenThrough) {
  const ProgramResult run =
      shell("mkfifo pipe\ncat pipe >read &\nEVALUATE --report pipe >answer || exit 3\nwait\n[ -p pipe ] && cat read");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_TRUE(nlohmann::json::parse(run.out).contains("results"));
  EXPECT_EQ(shell("EVALUATE --quiet --report /dev/null && [ -c /dev/null ]").status, 0);
  const ProgramResult archive = shell(
      "mkfifo other\n\"$HACK\" compress model --method plain --topk 0.5 --output other\nstatus=$?\n"
      "[ -p other ] && exit $status");
  EXPECT_EQ(archive.status, 1);
  EXPECT_NE(archive.err.find("other (it is a pipe or a device)"), std::string::npos) << archive.err;
}

TEST_F(Streams, LinksStayAndSoDoFilesOfTheUser) {
  write_file(file("report.tmp"), "mine");
  write_file(file("a.h5.tmp"), "mine");
  const ProgramResult run = shell(
      "ln -s target.json report\nEVALUATE --report report && [ -L report ] && [ -f target.json ] || exit 3\n"
      "\"$HACK\" compress model --method plain --topk 0.5 --output a.h5 --report report");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(read_file(file("report.tmp")), "mine");
  EXPECT_EQ(read_file(file("a.h5.tmp")), "mine");
  for (const auto& entry : fs::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().string().find(".hack-tmp"), std::string::npos) << entry.path();
}

TEST_F(Streams, SignalsThatWereIgnoredStayIgnored) {
  // The program waits in front of a pipe for its text when the signal comes.
  const std::string script =
      "{}\nmkfifo slow\n\"$HACK\" perplexity model --text slow --context 32 --windows 2 --report report &\nhack=$!\n"
      "exec 3>slow\nsleep 0.5\nkill -HUP $hack\nsleep 0.2\ncat text >&3\nexec 3>&-\nwait $hack";
  const ProgramResult ignored = shell(fmt::format(fmt::runtime(script), "trap '' HUP"));
  EXPECT_EQ(ignored.status, 0) << ignored.err;
  EXPECT_TRUE(ignored.out.starts_with("perplexity ")) << ignored.out;
  fs::remove(file("slow"));
  EXPECT_EQ(shell(fmt::format(fmt::runtime(script), "")).status, 128 + 1) << "otherwise it ends the run";
}

TEST_F(Streams, SignalsLeaveWordHowToGoOn) {
  const ProgramResult evaluated = shell(
      "mkfifo slow\n\"$HACK\" perplexity model --text slow --context 32 --records losses &\nrun=$!\n"
      "exec 3>slow\nuntil [ -s losses.hack-lock ]; do :; done\nkill -TERM $run\nwait $run");
  EXPECT_EQ(evaluated.status, 128 + 15);
  EXPECT_NE(evaluated.err.find("finished windows stand in losses, the same command goes on"), std::string::npos)
      << evaluated.err;
  EXPECT_FALSE(fs::exists(folder_ / "losses.hack-lock"));
}

TEST_F(Streams, ProgramsThatSlurmStartedApartAreRefused) {
  const ProgramResult apart = shell("SLURM_STEP_NUM_TASKS=4 EVALUATE");
  EXPECT_EQ(apart.status, 1);
  EXPECT_NE(apart.err.find("Slurm started 4 programs, and MPI sees 1"), std::string::npos) << apart.err;
  EXPECT_NE(apart.err.find("--mpi=pmix"), std::string::npos) << apart.err;
  EXPECT_EQ(shell("SLURM_STEP_NUM_TASKS=1 EVALUATE").status, 0);
  EXPECT_EQ(shell("SLURM_STEP_NUM_TASKS=2 \"$MPIRUN\" -n 1 \"$HACK\" inspect model").status, 0);
}

TEST_F(Streams, LockedArchivesAreNamedWithWhatHelps) {
  const ProgramResult run = shell(
      "\"$HACK\" compress model --method plain --topk 0.5 --output a.h5 >/dev/null || exit 3\n"
      "flock -x a.h5 \"$HACK\" inspect a.h5");
  EXPECT_EQ(run.status, 1) << run.out;
  for (const char* word : {"a.h5: another program has it open to write", "HDF5_USE_FILE_LOCKING=FALSE"})
    EXPECT_NE(run.err.find(word), std::string::npos) << run.err;
  EXPECT_EQ(run.err.find("H5Fopen"), std::string::npos) << run.err;
}

/// Each line runs in a folder whose output another run is writing; that run stands still, at a random place of it.
TEST_F(Streams, OutputsOfAnotherRunAreNotTouched) {
  const std::string compress = "\"$HACK\" compress model --method plain --topk 0.5 --quiet --output a.h5";
  const ProgramResult run = shell(fmt::format(
      // The first stops as soon as it has begun its archive; the second and third come meanwhile.
      "{0} >/dev/null & first=$!\n"
      "until [ -s a.h5.hack-lock ]; do :; done; kill -STOP $first\n"
      "{0}; echo second $?; {0} --resume; echo third $?\n"
      "cd .. && \"$MPIRUN\" -n 2 ${{HACK}} compress $OLDPWD/model --method plain --topk 0.5 --output $OLDPWD/a.h5\n"
      "echo fourth $?; cd $OLDPWD; kill -CONT $first; wait $first && [ -e a.h5 ] && ls",
      compress));
  EXPECT_EQ(run.status, 0) << run.err;
  for (const char* word : {"second 1", "third 1", "fourth 1"}) EXPECT_NE(run.out.find(word), std::string::npos) << word;
  EXPECT_NE(run.err.find("--output a.h5: another run is writing it (process "), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("wait for its end, or name another file"), std::string::npos) << run.err;
  EXPECT_EQ(run.out.find("hack-"), std::string::npos) << "left behind: " << run.out;
}

TEST_F(Streams, LocksOfDeadRunsStopNobody) {
  const std::string compress = "\"$HACK\" compress model --method plain --topk 0.5 --quiet --output a.h5 >/dev/null";
  const ProgramResult run =
      shell(fmt::format("{0} & first=$!\nuntil [ -s a.h5.hack-lock ]; do :; done; kill -KILL $first; wait $first\n"
                        "[ -e a.h5.hack-lock ] && {0} && [ ! -e a.h5.hack-lock ] && [ -e a.h5 ] || exit 3\n"
                        // A file system without locks looks like this.
                        "HDF5_USE_FILE_LOCKING=FALSE \"$HACK\" compress model --method plain --topk 0.5 --output a.h5",
                        compress));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_NE(run.err.find("--output a.h5: no locks here"), std::string::npos) << run.err;
}

TEST_F(Streams, RecordsAndExportsAreWrittenByOneRunAtATime) {
  for (const char* line :
       {"EVALUATE --records r", "\"$HACK\" export model --format gguf --output r",
        "\"$HACK\" export model --format hf --output r/", "\"$HACK\" sweep model --text text --keep 0.5 --output r",
        "\"$HACK\" study strong model --output r", "\"$HACK\" heal model --archive text --text text --output r",
        "\"$HACK\" import model --base model --output r", "\"$HACK\" evaluate model --tasks text --records r",
        "EVALUATE --save-all-logits r"}) {
    const std::string lock = std::string(line).find("study") == std::string::npos ? "r" : "r.records";
    const ProgramResult run = shell(
        fmt::format("python3 - {}.hack-lock <<'END' & p=$!\n"
                    "import fcntl, os, struct, sys, time\n"
                    "file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
                    "fcntl.fcntl(file, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))\n"
                    "open('held', 'w').close(), time.sleep(60)\n"
                    "END\nuntil [ -e held ]; do sleep 0.01; done\n{}\nstatus=$?\nkill $p; rm -f held r*\nexit $status",
                    lock, line));
    EXPECT_EQ(run.status, 1) << line << run.err;
    EXPECT_NE(run.err.find("another run is writing it (another process)"), std::string::npos) << line << run.err;
  }
}

TEST_F(Streams, DirectoriesAreWrittenWholeOrNotAtAll) {
  // The weights are written when it comes to this.
  fs::create_directory(folder_ / "model/LICENSE");
  const ProgramResult run = shell(
      "\"$HACK\" export model --format hf --output new; echo $?; mkdir empty\n"
      "\"$HACK\" export model --format hf --output empty; echo $?; ls new empty");
  EXPECT_EQ(run.out, "1\n1\nempty:\n") << run.err;
}

TEST_F(Streams, AModelThatIsCutShortWhileItIsReadIsNamed) {
  // The text comes through a pipe, so that the model is open and its weights are not read when it is cut.
  const auto when_mapped_by = [](int processes) {
    return fmt::format(
        "exec 3>slow\nfor i in $(seq 2000); do "
        "[ $(grep -ls \"$(pwd -P)/model/model.safetensors\" /proc/[0-9]*/maps | wc -l) -ge {} ] && break; "
        "sleep 0.01; done\n",
        processes);
  };
  const ProgramResult run = shell(
      "mkfifo slow\n\"$MPIRUN\" -n 2 \"$HACK\" perplexity model --text slow --context 32 --report report &\nrun=$!\n" +
      when_mapped_by(2) + "truncate -s 20000 model/model.safetensors\ncat text >&3\nexec 3>&-\nwait $run");
  EXPECT_EQ(run.status, 1) << run.err;
  EXPECT_NE(run.err.find("hack: rank "), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("model/model.safetensors cannot be read at byte "), std::string::npos) << run.err;
  EXPECT_FALSE(fs::exists(folder_ / "report"));
  // Cut within its last page, it reads as zeros.
  write_hf({}, folder_ / "model");
  const ProgramResult zeros =
      shell("rm slow; mkfifo slow\n\"$HACK\" perplexity model --text slow --context 32 &\nrun=$!\n" +
            when_mapped_by(1) + "truncate -s -8 model/model.safetensors\ncat text >&3\nexec 3>&-\nwait $run");
  EXPECT_EQ(zeros.status, 1) << zeros.out;
  EXPECT_NE(zeros.err.find("model/model.safetensors was changed while it was read"), std::string::npos) << zeros.err;
}

TEST_F(Streams, MessagesNameOptionAndFile) {
  write_file(file("ids"), "1\n99999\n");
  write_file(file("empty"), "");
  const auto expect = [&](const std::string& line, const std::vector<std::string>& says) {
    const ProgramResult run = shell(line);
    EXPECT_EQ(run.status, 1) << line;
    for (const std::string& word : says) EXPECT_NE(run.err.find(word), std::string::npos) << word << ": " << run.err;
  };
  expect("\"$HACK\" perplexity model --text empty", {"--text empty: is empty"});
  expect("\"$HACK\" perplexity model --text model", {"--text model: is a folder"});
  expect("\"$HACK\" perplexity model --text nowhere", {"--text nowhere: cannot be read (No such file"});
  expect("\"$HACK\" tokenize model --decode --text ids", {"--text ids: ", "99999"});
  expect("\"$HACK\" tokenize model --decode --text text", {"--text text: 'Sentence' is no token id"});
  expect("\"$HACK\" generate model --prompt ''", {"--prompt: is empty"});
  expect("\"$HACK\" sweep model --methods plain --text text --keep 0,0.5 --output o.csv",
         {"--keep: ", "keeps nothing"});
}

}  // namespace
}  // namespace hack::testing
