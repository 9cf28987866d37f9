#pragma once

namespace hack::tests {

/// What the fake is to do, and what it has seen.
struct FakeIpc {
  bool can_reach = true;          ///< whether GPUs reach each other's memory
  bool can_open = true;           ///< whether handles of other processes open
  int open = 0;                   ///< allocations and mappings that are still there
  bool knows_peers = true;        ///< else asking whether GPUs reach each other is an error
  bool has_error = false;         ///< an error that the next launch would be blamed for
  bool freed_while_open = false;  ///< memory that another process had mapped
};

FakeIpc& fake_ipc();

}  // namespace hack::tests
