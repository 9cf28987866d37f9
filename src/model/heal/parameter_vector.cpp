#include "model/heal/parameter_vector.hpp"

#include <cmath>

#include "comm/collectives.hpp"

namespace hack::model {
namespace {

double sum_of_squared(const float* x, index_t n) {
  double sum = 0;
  for (index_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace

void ParameterVector::sum(const comm::ProcessGrid& grid, float* gradients) const {
  Queue<Device::cpu> queue(1);
  const auto add = [&](const comm::Communicator& comm, index_t n) {
    if (comm.size() > 1 && n > 0) comm::all_reduce_sum<Device::cpu>(comm, queue, {gradients, 1, n});
  };
  add(grid.tensor(), counts_.shared);
  add(grid.data(), size());
}

double ParameterVector::norm(const comm::ProcessGrid& grid, const float* gradients) const {
  const double own = sum_of_squared(gradients + counts_.shared, counts_.own);
  return std::sqrt(sum_of_squared(gradients, counts_.shared) + comm::all_reduce_sum(grid.tensor(), own));
}

}  // namespace hack::model
