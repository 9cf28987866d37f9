# Every third-party package in one place, for this project and (installed as a part of the CMake package) for projects that
# use its libraries. A missing one stops the configure step with the name under which Debian/Ubuntu and Spack know it
# (jobs/setup.sh installs all of them).

set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI REQUIRED COMPONENTS CXX)

find_package(PkgConfig REQUIRED)

# Parallel HDF5, as hack_hdf5. pkg-config first: CMake's own search compiles through a wrapper that fails where the path of
# the build has a space. A serial HDF5 would compile and then lose data silently when several ranks write.
pkg_search_module(HDF5_PKG IMPORTED_TARGET hdf5-openmpi>=1.10 hdf5-mpich>=1.10 hdf5>=1.10)
add_library(hack_hdf5 INTERFACE IMPORTED)
if(HDF5_PKG_FOUND)
  target_link_libraries(hack_hdf5 INTERFACE PkgConfig::HDF5_PKG)
  set(HACK_HDF5_INCLUDE ${HDF5_PKG_INCLUDE_DIRS})
  set(HACK_HDF5_VERSION ${HDF5_PKG_VERSION})
else()
  set(HDF5_PREFER_PARALLEL ON)
  find_package(HDF5 1.10 REQUIRED COMPONENTS C)
  target_link_libraries(hack_hdf5 INTERFACE hdf5::hdf5)
  set(HACK_HDF5_INCLUDE ${HDF5_INCLUDE_DIRS})
  set(HACK_HDF5_VERSION ${HDF5_VERSION})
endif()
find_file(HACK_HDF5_CONFIG NAMES H5pubconf.h PATHS ${HACK_HDF5_INCLUDE} NO_DEFAULT_PATH)
set(hdf5_is_parallel "")
if(HACK_HDF5_CONFIG)
  file(STRINGS "${HACK_HDF5_CONFIG}" hdf5_is_parallel REGEX "^#define H5_HAVE_PARALLEL 1")
endif()
if(NOT hdf5_is_parallel)
  message(FATAL_ERROR "HDF5 in ${HACK_HDF5_INCLUDE} is serial. Install libhdf5-openmpi-dev (Debian/Ubuntu) or hdf5+mpi (Spack).")
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt REQUIRED)

pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(HIGHWAY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8.1)

# On x86 most builds of xxHash can choose the instruction set when they run: the same digests, in half of the time.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES PkgConfig::XXHASH)
check_cxx_source_compiles("#include <xxh_x86dispatch.h>
int main() { return static_cast<int>(XXH3_64bits(\"\", 0) + (XXH3_64bits_update(nullptr, nullptr, 0) != XXH_OK)); }" HACK_XXHASH_DISPATCHES)
unset(CMAKE_REQUIRED_LIBRARIES)
if(HACK_XXHASH_DISPATCHES)
  set(HACK_XXHASH_HEADER "<xxh_x86dispatch.h>")
else()
  set(HACK_XXHASH_HEADER "<xxhash.h>")
endif()

# OpenBLAS brings LAPACK; LAPACKE is a part of it in Spack and a library of its own in Debian.
find_library(HACK_OPENBLAS_LIBRARY NAMES openblas REQUIRED)
find_path(HACK_OPENBLAS_INCLUDE NAMES openblas_config.h PATH_SUFFIXES openblas x86_64-linux-gnu aarch64-linux-gnu REQUIRED)
find_path(HACK_LAPACKE_INCLUDE NAMES lapacke.h PATH_SUFFIXES openblas REQUIRED)
find_library(HACK_LAPACKE_LIBRARY NAMES lapacke openblas REQUIRED)
add_library(hack_lapack INTERFACE IMPORTED)
target_link_libraries(hack_lapack INTERFACE ${HACK_LAPACKE_LIBRARY} ${HACK_OPENBLAS_LIBRARY})
target_include_directories(hack_lapack SYSTEM INTERFACE ${HACK_OPENBLAS_INCLUDE} ${HACK_LAPACKE_INCLUDE})

# Device code is compiled only where asked for, or where both the toolkit and a GPU are present.
set(HACK_CUDA_ENABLED 0)
if(HACK_WITH_CUDA STREQUAL "ON" OR (HACK_WITH_CUDA STREQUAL "AUTO" AND EXISTS /proc/driver/nvidia/version))
  include(${CMAKE_CURRENT_LIST_DIR}/HackCuda.cmake)
endif()
