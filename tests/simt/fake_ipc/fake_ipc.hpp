#pragma once

namespace hack::tests {

/// What the fake is to do, and what it has seen.
struct FakeIpc {
  bool can_reach = true;  ///< whether GPUs reach each other's memory
  bool can_open = true;   ///< whether handles of other processes open
  int open = 0;           ///< allocations and mappings that are still there
};

FakeIpc& fake_ipc();

}  // namespace hack::tests
