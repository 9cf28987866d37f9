// The job scripts as a cluster's user submits them: to a real Slurm whose nodes are virtual (cluster.sh). Answers are
// those of a plain mpirun; jobs that are stopped, lose a rank or a node go on to the same answer; nothing keeps
// running.

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"
#include "tests/support/paths.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int cannot = 77;

/// How a job ended, as Slurm shows it.
struct JobEnd {
  std::string state;
  std::string exit_code;  ///< status:signal
  int restarts = -1;
};

class Slurm : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    const ProgramResult started = cluster("start", "6 2");
    if (started.status == cannot) reason_ = started.out;
    if (started.status != 0 && started.status != cannot) reason_ = "the cluster does not start";
    ASSERT_TRUE(started.status == 0 || started.status == cannot) << started.out << started.err;
    fs::create_directory(*folder_ / "run");
    TinyModel deep;
    deep.layers = 6;
    write_hf(deep, *folder_ / "model");
    std::string text;
    for (int i = 0; i < 1200; ++i)
      text += fmt::format("The {}th lamp burned {} hours, then another.\n", i, i * 37 % 24);
    write_file(*folder_ / "long", text);
    write_file(*folder_ / "text", text.substr(0, 4000));
    if (reason_.empty())
      stopped_ = submit("perplexity", long_evaluation("limit.losses"), "--time=1 --signal=B:USR1@45");
  }
  static void TearDownTestSuite() {
    if (reason_.empty()) {
      EXPECT_EQ(cluster("left").out, "") << "still running";
      EXPECT_EQ(cluster("stop").status, 0);
    }
    delete folder_;
    folder_ = nullptr;
  }
  void SetUp() override {
    if (!reason_.empty()) GTEST_SKIP() << reason_;
  }

  static ProgramResult cluster(const std::string& action, const std::string& more = "") {
    return run_shell(fmt::format("bash '{}/tests/slurm/cluster.sh' {} '{}/c' {}", HACK_SOURCE_DIR, action,
                                 folder_->path().string(), more));
  }

  /// A command line in the folder of results, with the cluster's settings.
  static ProgramResult shell(const std::string& command) {
    return run_shell(
        fmt::format("cd '{0}/run' && export SLURM_CONF='{0}/c/slurm.conf' "
                    "HACK_PROFILE='{1}/tests/slurm/profile.sh' HACK_PROGRAM=\"$HACK\"\n{2}",
                    folder_->path().string(), HACK_SOURCE_DIR, command));
  }

  /// Submits jobs/NAME.sbatch by jobs/submit.sh, to two nodes unless told otherwise; returns the job's number.
  static std::string submit(const std::string& name, const std::string& arguments, const std::string& options = "",
                            const std::string& environment = "") {
    const std::string nodes = options.find("--nodes") == std::string::npos ? "--nodes=2" : "";
    const ProgramResult sent = shell(fmt::format("{} bash '{}/jobs/submit.sh' {} {} {} {}", environment,
                                                 HACK_SOURCE_DIR, nodes, options, name, arguments));
    EXPECT_EQ(sent.status, 0) << sent.err;
    return sent.out.substr(0, sent.out.find_first_of(";\n"));
  }

  /// Waits until all tasks of a job have ended.
  static JobEnd end_of(const std::string& job) {
    const ProgramResult shown = shell(
        fmt::format("for i in $(seq 600); do [ -n \"$(squeue -h -j {0} 2>/dev/null)\" ] || break; sleep 0.1; done\n"
                    "scontrol show job -o {0} | tail -n 1",
                    job));
    JobEnd end;
    std::istringstream words(shown.out);
    for (std::string word; words >> word;) {
      if (word.rfind("JobState=", 0) == 0) end.state = word.substr(9);
      if (word.rfind("ExitCode=", 0) == 0) end.exit_code = word.substr(9);
      if (word.rfind("Restarts=", 0) == 0) end.restarts = std::stoi(word.substr(9));
    }
    return end;
  }

  static void expect_completed(const std::string& name, const std::string& job, int restarts = 0) {
    const JobEnd end = end_of(job);
    const std::string log = read("hack-" + name + "-" + job + ".out");
    EXPECT_EQ(end.state, "COMPLETED") << log;
    EXPECT_EQ(end.exit_code, "0:0") << log;
    EXPECT_EQ(end.restarts, restarts) << log;
    EXPECT_TRUE(std::regex_search(log, std::regex("rank 0 host n(.) (.|\n)*rank 1 host n(?!\\1)"))) << log;
  }

  /// A file among the results; empty if there is none.
  static std::string read(const std::string& name) {
    const fs::path path = *folder_ / "run" / name;
    return fs::exists(path) ? read_file(path) : "";
  }
  static json results_of(const std::string& report) { return json::parse(read(report))["results"]; }

  /// Results of the same under a plain mpirun.
  static json plainly(int ranks, const std::string& arguments) {
    const ProgramResult run =
        shell(fmt::format("exec \"$MPIRUN\" -n {} \"$HACK\" {} --report plain.json", ranks, arguments));
    EXPECT_EQ(run.status, 0) << run.err;
    return results_of("plain.json");
  }

  static std::string evaluation(const std::string& text) {
    return fmt::format("'{0}/model' --text '{0}/{1}' --context 48 --tensor-parallel 1 --threads 1",
                       folder_->path().string(), text);
  }
  static std::string long_evaluation(const std::string& records) {
    return evaluation("long") + " --records " + records + " --report " + records + ".json";
  }
  static const json& long_answer() {
    static const json answer = plainly(2, "perplexity " + evaluation("long"));
    return answer;
  }
  static std::string compression(const std::string& output) {
    return fmt::format(
        "'{0}/model' --output {1} --terms lowrank --keep 0.8 --tile 32 --calibration '{0}/text' --calibration-context "
        "64 --refine 60 "
        "--threads 1",
        folder_->path().string(), output);
  }

  static void wait_until(const std::string& condition) {
    EXPECT_EQ(shell("for i in $(seq 300); do { " + condition + "; } && exit 0; sleep 0.1; done; exit 1").status, 0)
        << condition;
  }
  /// Sends a signal to all ranks whose command line has `mark` as soon as the condition holds.
  static void signal_when(const std::string& condition, const char* name, const std::string& mark) {
    const ProgramResult sent =
        shell(fmt::format("for i in $(seq 1500); do {{ {}; }} && break; sleep 0.02; done\n"
                          "pkill -{} -f \"^$HACK .*{}\"",
                          condition, name, mark));
    EXPECT_EQ(sent.status, 0) << "no ranks of " << mark;
  }
  static std::string has_windows(const std::string& records) {
    return fmt::format("[ -f {0} ] && [ $(wc -l <{0}) -gt 3 ]", records);
  }
  /// Command lines on the nodes that have `mark`.
  static std::string left_of(const std::string& mark) {
    std::istringstream lines(cluster("left").out);
    std::string found;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(mark) != std::string::npos) found += line + "\n";
    }
    return found;
  }
  /// Waits until the job is back in the queue, and has it start without Slurm's pause of two minutes.
  static void start_again(const std::string& job, const std::string& mark) {
    wait_until(fmt::format("[ \"$(squeue -h -j {} -o %T)\" = PENDING ]", job));
    EXPECT_EQ(left_of(mark), "") << "still running though requeued";
    shell("scontrol update StartTime=now JobId=" + job);
  }
  static void expect_long_answer(const std::string& records) {
    const json results = results_of(records + ".json");
    EXPECT_GT(results["windows_from_records"], 0);
    EXPECT_LT(results["windows_from_records"], results["windows"]);
    EXPECT_EQ(results["nll_sum"], long_answer()["nll_sum"]);
    EXPECT_EQ(results["perplexity"], long_answer()["perplexity"]);
  }

  static TemporaryDirectory* folder_;
  static std::string reason_;   ///< why there is no cluster
  static std::string stopped_;  ///< a job that is to meet its time limit
};

TemporaryDirectory* Slurm::folder_ = nullptr;
std::string Slurm::reason_;
std::string Slurm::stopped_;

/// Everything that a job of two nodes left has the answers of mpirun -n 2.
TEST_F(Slurm, JobsGiveTheAnswersOfMpirun) {
  // The ranks of the job that is to meet its time limit stand still until it does.
  signal_when(has_windows("limit.losses"), "STOP", "limit.losses");

  const std::string plain =
      fmt::format("'{}/model' --topk 0.5 --tile 32 --method plain --threads 1", folder_->path().string());
  const std::string sweep = fmt::format(
      "'{0}/model' --keep 0.9 --methods plain --tile 32 --calibration '{0}/text' --text '{0}/text' "
      "--calibration-context 64 --threads 1 --output ",
      folder_->path().string());
  const std::string prompt =
      fmt::format("'{}/model' --prompt 'The lamp' --max-tokens 12 --threads 1", folder_->path().string());
  const std::string compress2 = submit("compress", plain + " --output two.h5");
  const std::string compress4 = submit("compress", plain + " --output four.h5", "--nodes=4");
  const std::string generate = submit("generate", prompt);
  const std::string sweeping = submit("sweep", sweep + "job.csv");
  const std::string array = submit("perplexity", evaluation("text"), "--array=1-3");
  const std::string joined =
      submit("perplexity", evaluation("text"), "--dependency=afterok:" + array, "HACK_JOIN=" + array);
  const std::string by_srun = submit("perplexity", evaluation("text"), "", "HACK_LAUNCHER=srun");

  plainly(2, "compress " + plain + " --output plain.h5");
  const json text = plainly(2, "generate " + prompt);
  const json perplexity = plainly(2, "perplexity " + evaluation("text"));
  expect_completed("compress", compress2);
  expect_completed("compress", compress4);
  EXPECT_FALSE(read("plain.h5").empty());
  EXPECT_TRUE(read("two.h5") == read("plain.h5"));
  EXPECT_TRUE(read("four.h5") == read("plain.h5"));
  expect_completed("generate", generate);
  EXPECT_EQ(results_of("hack-generate-" + generate + ".json")["ids"], text["ids"]);
  expect_completed("sweep", sweeping);
  plainly(2, "sweep " + sweep + "plain.csv");
  const auto without_seconds = [](const std::string& table) {
    return table.substr(0, table.rfind(',', table.rfind(',')));
  };
  EXPECT_FALSE(read("job.csv").empty());
  EXPECT_EQ(without_seconds(read("job.csv")).substr(0, 60), without_seconds(read("plain.csv")).substr(0, 60));
  for (const std::string& job : {joined, by_srun}) {
    expect_completed("perplexity", job);
    const json results = results_of("hack-perplexity-" + job + ".json");
    EXPECT_EQ(results["nll_sum"], perplexity["nll_sum"]);
    EXPECT_EQ(results["windows_from_records"], job == joined ? perplexity["windows"] : json(0));
  }
}

TEST_F(Slurm, ScalingStudiesLeaveTheirTables) {
  const std::string model = fmt::format("'{}/model'", folder_->path().string());
  const std::string quick =
      " --tiles 8 --prompt 16 --tokens 4 --context 32 --windows 4 --repeats 1 --threads 1 --output ";
  const std::string strong = submit("strong", model + quick + "strong");
  const std::string weak = submit("weak", model + quick + "weak --phases perplexity,factorization");
  expect_completed("strong", strong);
  expect_completed("weak", weak);
  for (const std::string name : {"strong", "weak"}) {
    const json study = json::parse(read(name + ".json"));
    std::set<std::pair<std::string, int>> measured;
    for (const json& row : study["rows"]) {
      EXPECT_EQ(row["kind"], "measured");
      measured.emplace(row["phase"].get<std::string>(), row["ranks"].get<int>());
    }
    for (const char* phase : {"factorization", "perplexity"}) {
      for (const int ranks : {1, 2}) EXPECT_TRUE(measured.count({phase, ranks})) << phase << " on " << ranks;
    }
    for (const char* part : {"held_out", "larger", "published"}) {
      for (const json& row : study[part]) EXPECT_EQ(row["kind"], "model");
    }
    EXPECT_FALSE(study["held_out"].empty());
    EXPECT_FALSE(read(name + ".csv").empty());
    EXPECT_NE(read(name + ".md").find("| model |"), std::string::npos);
  }
  // Rows that are there are not measured again.
  const std::string before = read("weak.json");
  expect_completed("weak", submit("weak", model + quick + "weak --phases perplexity,factorization"));
  EXPECT_EQ(json::parse(read("weak.json"))["rows"], json::parse(before)["rows"]);
}

TEST_F(Slurm, SignalledJobsGoOnToTheSameAnswer) {
  const std::string evaluating = submit("perplexity", long_evaluation("signal.losses"));
  const std::string compressing = submit("compress", compression("signal.h5"));
  signal_when(has_windows("signal.losses"), "STOP", "signal.losses");
  signal_when("[ -f signal.h5.parts/rank-0.journal ]", "STOP", "signal.h5");
  shell("scancel --batch --signal=USR1 " + evaluating + " " + compressing);
  wait_until(fmt::format("[ \"$(squeue -h -j {},{} -o %T | sort -u)\" = PENDING ]", evaluating, compressing));
  start_again(evaluating, "signal.losses");
  start_again(compressing, "signal.h5");
  plainly(2, "compress " + compression("whole.h5"));
  expect_completed("perplexity", evaluating, 1);
  expect_completed("compress", compressing, 1);
  expect_long_answer("signal.losses");
  EXPECT_FALSE(read("whole.h5").empty());
  EXPECT_TRUE(read("signal.h5") == read("whole.h5"));
  EXPECT_FALSE(fs::exists(*folder_ / "run/signal.h5.parts"));
}

TEST_F(Slurm, KilledRankFailsTheJobAndTheNextGoesOn) {
  const std::string killed = submit("perplexity", long_evaluation("killed.losses"));
  signal_when(has_windows("killed.losses"), "KILL", "killed.losses");
  const JobEnd end = end_of(killed);
  EXPECT_EQ(end.state, "FAILED");
  EXPECT_EQ(end.exit_code, "137:0");
  expect_completed("perplexity", submit("perplexity", long_evaluation("killed.losses")));
  expect_long_answer("killed.losses");
}

TEST_F(Slurm, LostNodePutsTheJobBackAndItGoesOn) {
  // Nodes 1 and 2 belong to the job that stands still.
  const std::string job = submit("perplexity", long_evaluation("lost.losses"), "--nodelist=n3,n4");
  signal_when(has_windows("lost.losses"), "STOP", "lost.losses");
  EXPECT_EQ(cluster("lose", "n4").status, 0);
  wait_until("[ \"$(squeue -h -o %T -j " + job + ")\" = PENDING ]");
  // Without Slurm's pause of two minutes, word of the first start's end can come late: from a node of the second start
  // it would count as that one's end. So the second start gets other nodes.
  shell("scontrol update StartTime=now ReqNodeList=n5,n6 JobId=" + job);
  const JobEnd end = end_of(job);
  EXPECT_EQ(cluster("return", "n4").status, 0);
  ASSERT_EQ(end.state, "COMPLETED") << read("hack-perplexity-" + job + ".out");
  EXPECT_EQ(end.restarts, 1);
  expect_long_answer("lost.losses");
}

TEST_F(Slurm, CancelledAndWrongJobsEndAtOnce) {
  const std::string cancelled = submit("perplexity", long_evaluation("cancelled.losses"), "--nodelist=n3,n4");
  signal_when(has_windows("cancelled.losses"), "STOP", "cancelled.losses");
  shell("scancel " + cancelled);
  const std::string wrong = submit("perplexity", evaluation("missing"));
  EXPECT_EQ(end_of(cancelled).state, "CANCELLED");
  const JobEnd end = end_of(wrong);
  EXPECT_EQ(end.state, "FAILED");
  EXPECT_EQ(end.exit_code, "1:0");
  EXPECT_NE(read("hack-perplexity-" + wrong + ".out").find("missing: cannot be read"), std::string::npos);
}

TEST_F(Slurm, TimeLimitPutsTheJobBackAndItGoesOn) {
  wait_until("scontrol show job -o " + stopped_ + " | grep -q Restarts=1");
  // The second start is to end, however slow the machine is; it may have waited long enough and run already.
  shell("scontrol update TimeLimit=10 JobId=" + stopped_);
  shell("scontrol update StartTime=now JobId=" + stopped_);
  expect_completed("perplexity", stopped_, 1);
  expect_long_answer("limit.losses");
  EXPECT_NE(read("hack-perplexity-" + stopped_ + ".out").find("back into the queue"), std::string::npos);
}

}  // namespace
}  // namespace hack::testing
