#include "tests/support/program.hpp"

#include <sys/wait.h>

#include <cstdlib>

#include <fmt/core.h>

#include "tests/support/temporary_directory.hpp"
#include "tests/support/paths.hpp"

namespace hack::testing {
namespace {

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

}  // namespace

ProgramResult run_shell(const std::string& command, int seconds) {
  const TemporaryDirectory folder;
  write_file(folder / "command.sh", command + "\n");
  // An MPI program that starts mpirun must not hand it its own place in its own job.
  const std::string line = fmt::format(
      "unset $(env | sed -n "
      "'s/"
      "^\\(OMPI_COMM_[A-Za-z0-9_]*\\|PMIX_[A-Za-z0-9_]*\\|OMPI_MCA_orte[A-Za-z0-9_]*\\|OMPI_MCA_ess[A-Za-z0-9_]*\\)=.*/"
      "\\1/p'); "
      "export HACK={} MPIRUN={}; exec timeout -k 5 {} bash {} >{} 2>{} </dev/null",
      quoted(HACK_PROGRAM), quoted(HACK_MPIEXEC), seconds, quoted(folder / "command.sh"), quoted(folder / "out"),
      quoted(folder / "err"));
  const int state = std::system(("bash -c " + quoted(line)).c_str());
  const int status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return {status, read_file(folder / "out"), read_file(folder / "err")};
}

ProgramResult run_hack(int ranks, const std::vector<std::string>& arguments, int seconds) {
  std::string command = ranks > 0 ? fmt::format("exec \"$MPIRUN\" -n {} \"$HACK\"", ranks) : "exec \"$HACK\"";
  for (const std::string& argument : arguments) command += " " + quoted(argument);
  return run_shell(command, seconds);
}

}  // namespace hack::testing
