#pragma once

#include <nccl.h>

namespace hack::tests {

/// What the fake is to do, and what it has seen.
struct FakeNccl {
  ncclResult_t next_call = ncclSuccess;    ///< of the next collective
  ncclResult_t async_state = ncclSuccess;  ///< what it tells those who ask how collectives go
  bool is_capturing = false;               ///< whether streams are in capture
  bool maps_memory = false;                ///< whether GPUs reach each other's memory
  int open = 0;                            ///< communicators neither destroyed nor aborted
  int aborts = 0;
};

FakeNccl& fake_nccl();

}  // namespace hack::tests
