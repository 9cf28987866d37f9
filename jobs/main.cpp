// The program `hack`: parses the command line on every rank, runs one subcommand, ends all ranks together.

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <fmt/core.h>

#include "comm/deadline.hpp"
#include "comm/environment.hpp"
#include "io/messages.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/session/completion.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/library_settings.hpp"
#include "jobs/session/markdown_help.hpp"
#include "jobs/session/session.hpp"
#include "jobs/session/usage_error.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"
#include "svd/archive/archive_seal.hpp"

namespace {

constexpr int usage_error = 2;

/// The value of --deadline for the time before options are parsed, which takes MPI: all ranks see the same ones.
double deadline_of(int argc, char** argv) {
  const double otherwise = hack::jobs::CommonOptions().deadline;
  constexpr std::string_view name = "--deadline";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with(name)) continue;
    const char* const value = word == name ? argv[i + 1] : argv[i] + name.size() + 1;
    const double seconds = value != nullptr ? std::strtod(value, nullptr) : 0;
    return std::isfinite(seconds) ? seconds : otherwise;
  }
  return otherwise;
}

enum class Answer { whole, cut };

/// An Error where something that was printed got lost: on a full disk, or in a pipe that nobody reads any more. Of a
/// list whose reader has gone says that it is cut: the reader has what it wanted.
Answer check_output(bool is_list = false) {
  const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  const int reason = errno;  // of the flush
  if (!is_written && is_list && reason == EPIPE) return Answer::cut;
  hack::validate(
      is_written,
      "standard output cannot be written ({}); the answer is lost: make room, or ask for it by --report FILE",
      std::strerror(reason));
  return Answer::whole;
}

int run(int argc, char** argv) {
  using namespace hack::jobs;
  CLI::App app("Compresses Llama models tile by tile and runs them on the factors.", "hack");
  app.set_version_flag("--version", "hack " HACK_VERSION);
  app.footer("hack COMMAND --help says more. hack --completion bash (or zsh) writes what completes command lines.");
  app.require_subcommand(1);
  const std::vector<std::unique_ptr<Command>> commands = make_commands(app);
  if (argc == 2 && std::string_view(argv[1]) == "--help-markdown") {
    if (hack::comm::Communicator::world().is_root()) fmt::print("{}", markdown_help(app));
    check_output();
    return 0;
  }
  if (argc == 3 && std::string_view(argv[1]) == "--completion") {
    const std::string script = completion(app, argv[2]);
    const bool speaks = hack::comm::Communicator::world().is_root();
    if (speaks && script.empty()) {
      hack::io::print_message(fmt::format("hack: --completion {}: it is {}\n", argv[2], completion_shells));
    }
    if (speaks) fmt::print("{}", script);
    check_output();
    return script.empty() ? usage_error : 0;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // All ranks see the same command line; one of them speaks.
    const bool speaks = hack::comm::Communicator::world().is_root();
    if (error.get_exit_code() == 0) return speaks ? app.exit(error) : 0;  // help and version
    if (speaks) hack::io::print_message(fmt::format("hack: {}\n", explain(app, error)));
    return usage_error;
  }
  bool is_done = true;
  for (const std::unique_ptr<Command>& command : commands) {
    if (!command->app().parsed()) continue;
    check_files(command->app());
    Session session(command->common());
    try {
      session.finish(command->app(), command->run(session));
      is_done = is_done && command->is_done();
    } catch (const std::system_error& error) {
      if (command->is_list() && error.code() == std::errc::broken_pipe) return 1;
      check_output();  // says what the failure means, where it is the printing that failed
      throw;
    }
    if (check_output(command->is_list()) == Answer::cut) is_done = false;
  }
  return is_done ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  hack::io::prepare_standard_streams();
  hack::jobs::apply_library_settings(argv);
  // Ranks come as their launcher gets to them: that may take a minute.
  constexpr double least = 60;
  const double deadline = deadline_of(argc, argv);
  hack::comm::Deadline::start(deadline > 0 ? std::max(least, deadline) : deadline, "raise --deadline");
  hack::comm::Environment environment(argc, argv);
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    hack::comm::Environment::abort("out of memory; use more ranks or a narrower --dtype");
  } catch (const hack::svd::UnreadableArchive& error) {
    hack::comm::Environment::abort(fmt::format(
        "{}; make it anew: hack compress MODEL --output FILE, with the options that it was made with", error.what()));
  } catch (const std::system_error& error) {
    const bool is_thread = error.code() == std::errc::resource_unavailable_try_again;
    hack::comm::Environment::abort(
        is_thread ? fmt::format("cannot start a thread ({}); allow more memory or processes (ulimit -v, -u), or use "
                                "fewer --threads",
                                error.what())
                  : error.what());
  } catch (const std::exception& error) {
    hack::comm::Environment::abort(error.what());
  }
}
