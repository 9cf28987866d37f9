#pragma once

#include <optional>
#include <string>

namespace hack::comm {

/// What the MPI library says of itself.
struct MpiFacts {
  std::string library;   ///< name and version
  std::string standard;  ///< version of the standard, "3.1"
  std::string threads;   ///< level that it granted: "single", "funneled", "serialized" or "multiple"
  std::optional<bool>
      takes_device_memory;  ///< whether it may be given pointers to GPU memory; nothing: it does not say
};

/// Asks MPI, which has been started.
MpiFacts mpi_facts();

}  // namespace hack::comm
