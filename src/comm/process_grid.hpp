#pragma once

#include "comm/communicator.hpp"

namespace hack::comm {

/// Arranges P = tensor × data ranks: ranks that share one copy of the model stand side by side.
///
///     P = 6, tensor = 2:   data 0: ranks 0 1   data 1: ranks 2 3   data 2: ranks 4 5
///
/// `tensor()` joins the ranks of one copy, `data()` those that hold the same shard of different copies.
class ProcessGrid {
 public:
  /// tensor_size 0: all ranks share one copy. An Error if it does not divide the number of ranks. Collective.
  ProcessGrid(const Communicator& world, int tensor_size);

  const Communicator& tensor() const { return tensor_; }
  const Communicator& data() const { return data_; }

 private:
  Communicator tensor_;
  Communicator data_;
};

}  // namespace hack::comm
