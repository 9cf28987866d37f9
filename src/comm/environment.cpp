#include "comm/environment.hpp"

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "comm/deadline.hpp"
#include "comm/error.hpp"
#include "io/guarded_path.hpp"
#include "io/mapping_guard.hpp"
#include "io/messages.hpp"
#include "kernels/error.hpp"

namespace hack::comm {

void check_mpi(int code, const char* call, std::source_location at) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail("{} failed: {} ({}:{})", call, text, at.file_name(), at.line());
}

namespace {

/// Whether MPI can be called, so that MPI can end the other ranks.
std::atomic<bool> has_mpi{false};

/// Rank and number of ranks, from the launcher's variables where MPI is not there.
std::pair<int, int> place() {
  int rank = 0;
  int size = 1;
  if (has_mpi) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
  } else if (const char* const of = std::getenv("OMPI_COMM_WORLD_RANK"); of != nullptr) {
    rank = std::atoi(of);
    size = 2;  // or more
  }
  return {rank, size};
}

/// An exception that leaves a thread, of a team that shares a loop for instance, ends the run as one that reaches main.
[[noreturn]] void end_of_thread() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    Environment::abort("out of memory; use more ranks");
  } catch (const std::exception& error) {
    Environment::abort(error.what());
  } catch (...) {
  }
  Environment::abort("ended by an exception of no known kind");
}

}  // namespace

Environment::Environment(int& argc, char**& argv) {
  int provided = 0;
  // The main thread alone calls MPI; only the deadline's thread may call MPI_Abort beside it.
  {
    const Deadline::Wait wait("MPI_Init_thread");
    HACK_MPI(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided));
  }
  has_mpi = true;
  validate(provided >= MPI_THREAD_FUNNELED,
           "MPI offers thread level {} (MPI_THREAD_FUNNELED is needed); use another MPI", provided);
  HACK_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  HACK_MPI(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
  segments_.take_away();
  std::set_terminate(end_of_thread);
  io::MappingGuard::on_loss([](std::string_view message) { abort(message); });
}

Environment::~Environment() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized) {
    segments_.put_back();
    has_mpi = false;
    const Deadline::Wait wait("MPI_Finalize");
    MPI_Finalize();
  }
  Deadline::stop();
}

void Environment::abort(std::string_view message) {
  const auto [rank, size] = place();
  if (rank > 0) std::this_thread::sleep_for(std::chrono::milliseconds(400));
  const std::string who = size > 1 ? fmt::format("hack: rank {}: ", rank) : std::string("hack: ");
  io::print_message(fmt::format("{}{}\n", who, message));
  io::GuardedPath::remove_all();
  // Alone there is nobody to end, and MPI_Abort would bury the message. Before and after MPI the launcher ends the
  // others.
  if (size == 1 || !has_mpi) std::_Exit(1);
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::_Exit(1);
}

}  // namespace hack::comm
