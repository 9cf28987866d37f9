#pragma once

#include <nccl.h>

namespace hack::tests {

/// What the fake is to do, and what it has seen.
struct FakeNccl {
  ncclResult_t next_call = ncclSuccess;    ///< of the next collective
  ncclResult_t async_state = ncclSuccess;  ///< what it tells those who ask how collectives go
  int polls_until_connected = 3;
  int polls_until_issued = 0;   ///< how often it says that a collective is in progress before its stream has it
  int polls_while_issuing = 0;  ///< since the last of those
  int open = 0;                 ///< communicators neither destroyed nor aborted
  int aborts = 0;
};

FakeNccl& fake_nccl();

}  // namespace hack::tests
