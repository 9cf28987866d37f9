#include "svd/fit/propagated_target.hpp"

#include <algorithm>
#include <vector>

#include "kernels/batched_algebra.hpp"
#include "kernels/error.hpp"
#include "kernels/host_view.hpp"

namespace hack::svd {
namespace {

using kernels::Transpose;

/// Rows of one product: few, so that threads share the rows out, or as many as fill a GPU.
template <Device D>
constexpr index_t block_rows = D == Device::cpu ? 64 : 1024;

template <class T, Device D>
Buffer<T, D> copy_of(Queue<D>& queue, MatrixView<const T, D> x) {
  Buffer<T, D> out(x.rows * x.cols);
  const kernels::Block<T, T, D> block{x, {out.data(), x.rows, x.cols}};
  kernels::combine<D, T, T>(queue, 1, 0, std::span(&block, 1));
  return out;
}

}  // namespace

template <Device D>
PropagatedTarget<D>::PropagatedTarget(Queue<D>& queue, const InputStatistics& statistics, double damping, double share)
    : n_(statistics.h().rows),
      kind_(statistics.kind()),
      share_(share),
      h_(statistics.h().data, n_ * n_),
      cross_(statistics.cross().data, statistics.cross().rows * n_) {
  HACK_EXPECT(kind_ != Cross::none);
  const MatrixView<const double> h = statistics.h();
  double mean = 0;
  for (index_t i = 0; i < n_; ++i) mean += h(i, i) / static_cast<double>(n_);
  for (const double factor : {1.0, 10.0, 100.0}) {
    root_ = copy_of<double, D>(queue, {h_.data(), n_, n_});
    const MatrixView<double, D> root(root_.data(), n_, n_);
    if (mean == 0) {
      // Every input was zero, so that any target fits: H counts as I, and the correction below is zero.
      std::vector<double> ones(static_cast<std::size_t>(n_ * n_));
      for (index_t i = 0; i < n_; ++i) ones[static_cast<std::size_t>(i * n_ + i)] = 1;
      queue.wait();
      kernels::copy_from_host<D>(root.data, ones.data(), ones.size() * sizeof(double));
    } else {
      kernels::damp<D>(queue, factor * std::max(damping, 1e-6), std::span(&root, 1));
    }
    std::uint8_t is_definite = 0;
    kernels::cholesky<D>(queue, std::span(&root, 1), std::span(&is_definite, 1));
    if (is_definite) return;
  }
  fail("the statistics of {} inputs are not positive semidefinite; calibrate with more text or raise the damping", n_);
}

template <Device D>
struct PropagatedTarget<D>::Step {
  std::vector<kernels::Block<float, double, D>> widened;
  std::vector<kernels::Product<D>> reached, met;
  std::vector<kernels::Block<double, double, D>> given, sums;
  std::vector<kernels::CholeskySystem<D>> systems;
  std::vector<kernels::Block<double, float, D>> targets;
};

template <Device D>
void PropagatedTarget<D>::correct(Queue<D>& queue, const Step& step) const {
  // (Y - W H) is formed as a difference before the solve: Y H⁻¹ - W would cancel, because a compressed layer's inputs
  // hardly differ from the dense model's, and a damped H⁻¹ would not give W back even where they do not differ at all.
  // With the difference first, x̂ = x gives exactly T = W whatever the damping.
  kernels::combine<D, float, double>(queue, 1, 0, step.widened);
  kernels::multiply<D>(queue, share_, Transpose::no, Transpose::no, 0, step.reached);
  kernels::combine<D, double, double>(queue, share_, 0, step.given);
  kernels::multiply<D>(queue, -share_, Transpose::no, Transpose::no, 1, step.met);
  kernels::solve_cholesky<D>(queue, step.systems);
  kernels::combine<D, double, double>(queue, 1, 1, step.sums);
  kernels::combine<D, double, float>(queue, 1, 0, step.targets);
}

template <Device D>
void PropagatedTarget<D>::apply(Queue<D>& queue, MatrixView<const float> w, index_t first_row,
                                MatrixView<float> target) const {
  HACK_EXPECT(w.cols == n_ && w.ld == n_ && target.rows == w.rows && target.cols == n_ && target.ld == n_);
  const index_t at_once = block_rows<D> * (D == Device::cpu ? queue.threads() : 1);
  Buffer<double, D> wide_rows(std::min(at_once, w.rows) * n_), corrections(wide_rows.size());
  Buffer<float, D> targets(wide_rows.size());
  for (index_t first = 0; first < w.rows; first += at_once) {
    const index_t size = std::min(at_once, w.rows - first);
    const DeviceView<float, D> values(w.row(first), size * n_);
    Step step;
    for (index_t i = 0; i < size; i += block_rows<D>) {
      const index_t rows = std::min(block_rows<D>, size - i);
      const MatrixView<double, D> wide(wide_rows.data() + i * n_, rows, n_);
      const MatrixView<double, D> correction(corrections.data() + i * n_, rows, n_);
      const MatrixView<const double, D> cross(cross_.data(), n_, n_);
      step.widened.push_back({{values.data() + i * n_, rows, n_}, wide});
      if (kind_ == Cross::inputs) {
        step.reached.push_back({wide, cross, correction});
      } else {
        step.given.push_back({{cross_.data() + (first_row + first + i) * n_, rows, n_}, correction});
      }
      step.met.push_back({wide, {h_.data(), n_, n_}, correction});
      step.systems.push_back({{root_.data(), n_, n_}, correction});
      step.sums.push_back({wide, correction});
      step.targets.push_back({correction, {targets.data() + i * n_, rows, n_}});
    }
    correct(queue, step);
    const HostView<float, D> here(queue, targets.data(), size * n_);
    std::copy_n(here.data(), size * n_, target.row(first));
  }
}

template class PropagatedTarget<Device::cpu>;
template class PropagatedTarget<Device::cuda>;

}  // namespace hack::svd
