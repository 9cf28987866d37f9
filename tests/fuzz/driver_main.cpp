// Runs a target on seeded mutations of its seeds, for builds without libFuzzer: the same inputs on every machine.
//
//   PROGRAM [--runs N] [--seed S]     N mutations; the first ones are the seeds as they are
//   PROGRAM --write-seeds FOLDER      the seed corpus
//   PROGRAM FILE…                     these inputs
//
// An input that takes more than ten seconds is a finding. What was read last is left in ./NAME.finding.

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>

#include <fmt/core.h>

#include "tests/support/mutator.hpp"
#include "tests/fuzz/session.hpp"
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

int main_of(const std::vector<std::string>& arguments) {
  long runs = 1000;
  std::uint64_t seed = 1;
  std::vector<std::string> files;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool has_value = i + 1 < arguments.size();
    if (arguments[i] == "--runs" && has_value) {
      runs = std::stol(arguments[++i]);
    } else if (arguments[i] == "--seed" && has_value) {
      seed = std::stoull(arguments[++i]);
    } else if (arguments[i] == "--write-seeds" && has_value) {
      write_seeds(arguments[++i]);
      return 0;
    } else {
      files.push_back(arguments[i]);
    }
  }
  for (const std::string& file : files) run(testing::read_file(file));
  if (!files.empty()) return 0;
  const std::vector<std::string> seeds = target().seeds();
  for (const std::string& bytes : seeds) run(bytes);
  testing::Mutator mutator(seeds, seed);
  for (long n = 0; n < runs; ++n) run(mutator.next());
  fmt::print("{}: {} seeds and {} mutations, no finding\n", target().name, seeds.size(), runs);
  return 0;
}

}  // namespace
}  // namespace hack::fuzz

int main(int argc, char** argv) {
  hack::fuzz::begin(argc, argv);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(hack::fuzz::keep_input);
#endif
  std::signal(SIGALRM, hack::fuzz::end_of_patience);
  return hack::fuzz::main_of({argv + 1, argv + argc});
}
