#pragma once

#include <string>

namespace hack::jobs {

/// Sets what libraries read from the environment only while they are loaded, and starts the program again with it,
/// once, before MPI. Variables that the user has set stay.
///
/// OPENBLAS_CORETYPE: an OpenBLAS older than the CPU falls back to kernels of 2004 (0.3.21 on a Xeon of 2023: 3 times
/// slower matrix products); the name of the newest kernels it has for these instruction sets is set instead.
/// GOMP_SPINCOUNT: libgomp spins 300,000 pauses, about 18 ms on current CPUs, before a waiting thread sleeps; where
/// cores are shared that multiplies the time of a decoded token. 2,000 (0.1 ms) still covers the gap between
/// operations.
void apply_library_settings(char** argv);

/// The kernels OpenBLAS uses if they are older than this CPU, else empty.
std::string outdated_blas_core();

}  // namespace hack::jobs
