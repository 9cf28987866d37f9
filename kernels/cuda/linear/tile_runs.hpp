#pragma once

#include <functional>
#include <vector>

#include "kernels/cuda/linear/tile_runs.cuh"
#include "kernels/factored_linear.hpp"

namespace hack::kernels::cuda {

/// The rows that an interpolative tile keeps as they are.
struct KeptRows {
  int eights = 0;  ///< where its rows begin in FactoredPlanLists::skeleton
  int count = 0;
};

/// The lists of TileRuns while they are made, on the host. Without runs where a tile is too large for one.
class TileRunLists {
 public:
  /// `kept_of(i, j)`: of interpolative tile (i, j).
  TileRunLists(const FactoredView<Device::cuda>& w, index_t multiprocessors,
               const std::function<KeptRows(index_t, index_t)>& kept_of);

  std::vector<TileRun> runs;
  std::vector<RunPart> parts;
  std::vector<RunLoad> loads;
  std::vector<RunSkeleton> skeletons;
  std::vector<int> counts;
  index_t most = 0;
  bool is_aligned = true;

 private:
  struct Left;
  bool fits() const;
  bool finds_aligned() const;
  index_t end_of_run(index_t i, index_t first) const;
  void add_run(index_t i, index_t first, index_t last, int number);
  void add_stack(index_t i, index_t first, index_t last, std::vector<int>& z);
  int add_loads(const Left& left, index_t begin, index_t end, int table);
  void add_parts(index_t i, index_t j, int z);
  index_t loads_between(index_t begin, index_t end) const;

  const FactoredView<Device::cuda>& w_;
  const std::function<KeptRows(index_t, index_t)>& kept_of_;
  index_t per_load_ = 0;  // numbers
  index_t columns_ = 0;   // wanted of a run
  std::size_t first_load_ = 0;
};

}  // namespace hack::kernels::cuda
