#pragma once

#include <algorithm>

#include "kernels/error.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::svd {

/// What a step of a fit takes of memory, in bytes, on the rank that takes most.
struct StepMemory {
  index_t values = 0;   ///< what is read ahead: tiles in f32
  index_t working = 0;  ///< beside it while tiles are factorized and encoded
  index_t encoded = 0;  ///< tiles as they go into the archive, at most
  index_t gpu = 0;      ///< of a GPU's memory, without what cuSOLVER asks for
};

/// Bytes that are held at most while a step is made: the record of the last one is written to the journal and the
/// values of the next one are read meanwhile. When a step's tiles are encoded their values are gone.
inline index_t bytes_held(const StepMemory& last, const StepMemory& step, const StepMemory& next) {
  return last.encoded + next.values + std::max(step.values + step.working, step.encoded);
}

/// A matrix takes more memory than there may be taken.
class MemoryError : public Error {
 public:
  using Error::Error;
};

}  // namespace hack::svd
