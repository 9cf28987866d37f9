// Runs a target on seeded mutations of its seeds, for builds without libFuzzer: the same inputs on every machine.
//
//   PROGRAM [--runs N] [--seed S]     N mutations; the first ones are the seeds as they are
//   PROGRAM --made N [--seed S]       N inputs made from random numbers, where the target makes such
//   … --json FILE                     a record: how many readings ended in which way
//   PROGRAM --write-seeds FOLDER      the seed corpus
//   PROGRAM FILE…                     these inputs
//
// An input that takes more than ten seconds is a finding. What was read last is left in ./NAME.finding.

#include <execinfo.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "kernels/stopwatch.hpp"
#include "tests/fuzz/session.hpp"
#include "tests/support/mutator.hpp"
#include "tests/support/temporary_directory.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace hack::fuzz {
namespace {

constexpr unsigned seconds_an_input = 10;

std::string input_now;

void keep_input() {
  const std::string name = std::string(target().name) + ".finding";
  std::ofstream(name, std::ios::binary) << input_now;
  std::fprintf(stderr, "the input is in %s\n", name.c_str());
}

extern "C" void end_of_patience(int) {
  std::fprintf(stderr, "finding: it took more than %u s\n", seconds_an_input);
  keep_input();
  std::_Exit(1);
}

#if !defined(__SANITIZE_ADDRESS__)
extern "C" void end_of_crash(int signal) {
  std::fprintf(stderr, "finding: signal %d\n", signal);
  void* frames[30];
  backtrace_symbols_fd(frames, backtrace(frames, 30), STDERR_FILENO);
  keep_input();
  std::_Exit(1);
}
#endif

void run(std::string bytes) {
  input_now = std::move(bytes);
  alarm(seconds_an_input);
  try {
    target().read(input_now);
  } catch (const std::exception& error) {
    report_finding(std::string("an exception that is no Error or names no file: ") + error.what());
  }
  alarm(0);
}

struct Options {
  long runs = 1000;
  std::uint64_t seed = 1;
  bool is_made = false;
  std::string record;
};

void write_record(const Options& options, std::size_t seeds, double seconds) {
  nlohmann::ordered_json record = {{"target", target().name},
                                   {options.is_made ? "made" : "mutations", options.runs},
                                   {"seeds", seeds},
                                   {"seed", options.seed},
                                   {"seconds", std::round(seconds)},
                                   {"findings", 0}};
  long accepted = 0, refused = 0;
  for (const auto& [kind, count] : outcomes()) (kind == "accepted" ? accepted : refused) += count;
  record["readings"] = {{"accepted", accepted}, {"refused with the file's name", refused}};
  record["outcomes"] = outcomes();
  testing::write_file(options.record, record.dump(1, ' ', true) + "\n");
}

/// Seeds and mutations, or made inputs.
int run_all(const Options& options) {
  const Stopwatch watch;
  const std::vector<std::string> seeds = options.is_made ? std::vector<std::string>() : target().seeds();
  for (const std::string& bytes : seeds) run(bytes);
  std::mt19937_64 random(options.seed);
  testing::Mutator mutator(seeds, options.seed);
  for (long n = 0; n < options.runs; ++n) run(options.is_made ? target().make(random) : mutator.next());
  if (!options.record.empty()) write_record(options, seeds.size(), watch.seconds());
  fmt::print("{}: {} seeds and {} {}, no finding\n", target().name, seeds.size(), options.runs,
             options.is_made ? "made inputs" : "mutations");
  return 0;
}

int main_of(const std::vector<std::string>& arguments) {
  Options options;
  std::vector<std::string> files;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool has_value = i + 1 < arguments.size();
    if (arguments[i] == "--runs" && has_value) {
      options.runs = std::stol(arguments[++i]);
    } else if (arguments[i] == "--made" && has_value && target().make != nullptr) {
      options.runs = std::stol(arguments[++i]);
      options.is_made = true;
    } else if (arguments[i] == "--seed" && has_value) {
      options.seed = std::stoull(arguments[++i]);
    } else if (arguments[i] == "--json" && has_value) {
      options.record = arguments[++i];
    } else if (arguments[i] == "--write-seeds" && has_value) {
      write_seeds(arguments[++i]);
      return 0;
    } else {
      files.push_back(arguments[i]);
    }
  }
  for (const std::string& file : files) run(testing::read_file(file));
  return files.empty() ? run_all(options) : 0;
}

}  // namespace
}  // namespace hack::fuzz

int main(int argc, char** argv) {
  hack::fuzz::begin(argc, argv);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(hack::fuzz::keep_input);
#else
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) std::signal(signal, hack::fuzz::end_of_crash);
#endif
  std::signal(SIGALRM, hack::fuzz::end_of_patience);
  const int status = hack::fuzz::main_of({argv + 1, argv + argc});
  // Without the ends of MPI and HDF5, as libFuzzer does: edits of an archive leave objects open, on which HDF5 crashes.
  std::error_code ignored;
  std::filesystem::remove_all(hack::fuzz::scratch_folder(), ignored);
  std::fflush(nullptr);
  std::_Exit(status);
}
