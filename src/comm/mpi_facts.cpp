#include "comm/mpi_facts.hpp"

#include <mpi.h>
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

#include <fmt/core.h>

#include "comm/error.hpp"

namespace hack::comm {
namespace {

std::string name_of_level(int level) {
  if (level == MPI_THREAD_SINGLE) return "single";
  if (level == MPI_THREAD_FUNNELED) return "funneled";
  return level == MPI_THREAD_SERIALIZED ? "serialized" : "multiple";
}

}  // namespace

MpiFacts mpi_facts() {
  MpiFacts facts;
  char library[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0, version = 0, subversion = 0, level = 0;
  HACK_MPI(MPI_Get_library_version(library, &length));
  HACK_MPI(MPI_Get_version(&version, &subversion));
  HACK_MPI(MPI_Query_thread(&level));
  const std::string text = library;
  facts.library = text.substr(0, text.find_first_of(",\n"));
  facts.standard = fmt::format("{}.{}", version, subversion);
  facts.threads = name_of_level(level);
#if defined(MPIX_CUDA_AWARE_SUPPORT)
  facts.takes_device_memory = MPIX_Query_cuda_support() != 0;
#endif
  return facts;
}

}  // namespace hack::comm
