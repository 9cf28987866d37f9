#pragma once

#include <source_location>

namespace hack::comm {

/// Throws an Error with MPI's own message if `code` is not MPI_SUCCESS.
void check_mpi(int code, const char* call, std::source_location at = std::source_location::current());

}  // namespace hack::comm

/// Makes an MPI call and throws an Error naming it if it fails.
#define HACK_MPI(call) ::hack::comm::check_mpi((call), #call)
