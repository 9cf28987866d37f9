#pragma once

namespace hack::simt {

/// How the emulated cuSOLVER finds eigenvectors: well, as if it did not converge, or one of each matrix wrong.
enum class LibraryFault { none, not_converged, wrong_vectors };
inline LibraryFault library_fault = LibraryFault::none;

}  // namespace hack::simt
