#include "jobs/bench/random_tiles.hpp"

#include <random>

#include "kernels/host_view.hpp"

namespace hack::jobs {

using kernels::SvdStatus;

template <Device D>
RandomTiles<D>::RandomTiles(const svd::Range& range, index_t size, index_t vectors, bool as_bf16)
    : size_(size),
      vectors_(vectors),
      count_(range.size()),
      host_values_(count_ * size * size),
      u_(count_ * size * vectors),
      sigma_(count_ * size),
      vt_(count_ * vectors * size) {
  for (index_t t = 0; t < count_; ++t) {
    std::mt19937 engine(static_cast<unsigned>(range.begin + t));
    std::normal_distribution<float> normal;
    float* to = host_values_.data() + t * size * size;
    for (index_t i = 0; i < size * size; ++i) {
      const float x = normal(engine);
      to[i] = as_bf16 ? to_float(to_bf16(x)) : x;
    }
  }
  values_ = to_device<D>(host_values_.data(), host_values_.size());
  for (index_t t = 0; t < count_; ++t) {
    in_.emplace_back(values_.data() + t * size * size, size, size);
    out_.push_back({{u_.data() + t * size * vectors, size, vectors},
                    sigma_.data() + t * size,
                    {vt_.data() + t * vectors * size, vectors, size},
                    SvdStatus::ok});
  }
}

template <Device D>
void RandomTiles<D>::factorize(Queue<D>& queue) {
  kernels::tile_svd<D>(queue, in_, out_);
  queue.wait();
}

template <Device D>
void RandomTiles<D>::factorize_by_library(Queue<D>& queue) {
  kernels::library_svd<D>(queue, in_, out_);
  queue.wait();
}

template <Device D>
SvdErrors RandomTiles<D>::check(Queue<D>& queue) const {
  const HostView<float, D> u(queue, u_.data(), u_.size()), sigma(queue, sigma_.data(), sigma_.size());
  const HostView<float, D> vt(queue, vt_.data(), vt_.size());
  SvdErrors worst;
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (index_t t = 0; t < count_; ++t) {
    SvdErrors errors = measure_errors({host_values_.data() + t * size_ * size_, size_, size_},
                                      {u.data() + t * size_ * vectors_, size_, vectors_}, sigma.data() + t * size_,
                                      {vt.data() + t * vectors_ * size_, vectors_, size_});
    if (out_[static_cast<std::size_t>(t)].status != SvdStatus::ok) errors.spectrum = 1;
#pragma omp critical
    worst.take_larger(errors);
  }
  return worst;
}

template class RandomTiles<Device::cpu>;
template class RandomTiles<Device::cuda>;

}  // namespace hack::jobs
