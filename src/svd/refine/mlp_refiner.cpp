#include "svd/refine/mlp_refiner.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <random>

#include "comm/collectives.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"
#include "kernels/gradient.hpp"

namespace hack::svd {
namespace {

using Tokens = MatrixView<const float>;

constexpr index_t judging_tokens = 2048;
constexpr int steps_between_judgements = 20;

/// Rows 0 … n - 1 in random order, each once before any comes again (Fisher and Yates' shuffle). std::shuffle is not
/// used: its result may differ from one standard library to the next.
class TokenOrder {
 public:
  TokenOrder(index_t n, std::uint64_t seed) : random_(seed), rows_(static_cast<std::size_t>(n)), at_(rows_.size()) {
    std::iota(rows_.begin(), rows_.end(), index_t{0});
  }

  /// Fills `out` with the next rows; there must be some.
  void take(std::span<index_t> out) {
    for (index_t& row : out) {
      if (at_ == rows_.size()) shuffle();
      row = rows_[at_++];
    }
  }

 private:
  void shuffle() {
    for (std::size_t i = rows_.size(); i > 1; --i) std::swap(rows_[i - 1], rows_[random_() % i]);
    at_ = 0;
  }

  std::mt19937_64 random_;
  std::vector<index_t> rows_;
  std::size_t at_;
};

float weight_of(std::span<const float> weights, index_t row) {
  return weights.empty() ? 1.0f : weights[static_cast<std::size_t>(row)];
}

/// Σ weight x² of all numbers, in double: finite if all numbers are. Rows are added in order, so that the sum does not
/// depend on the number of threads.
double sum_of_squares(int threads, Tokens x, std::span<const float> weights) {
  std::vector<double> sums(static_cast<std::size_t>(x.rows));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (index_t i = 0; i < x.rows; ++i) {
    double sum = 0;
    for (index_t j = 0; j < x.cols; ++j) sum += static_cast<double>(x(i, j)) * x(i, j);
    sums[static_cast<std::size_t>(i)] = weight_of(weights, i) * sum;
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

RefineOptions checked(const RefineOptions& options) {
  validate(options.steps >= 0, "{} steps of refinement are impossible; use 0, 1, 2, …", options.steps);
  validate(options.rate > 0 && std::isfinite(options.rate),
           "a refinement at the rate {} is impossible; use a small number above 0, such as 5e-4", options.rate);
  validate(options.batch >= 1, "a refinement with {} tokens a step is impossible; use 1 or more", options.batch);
  return options;
}

}  // namespace

template <Device D>
struct MlpRefiner<D>::Share {
  Tokens inputs;                   // (tokens, hidden)
  Tokens targets;                  // (tokens, hidden)
  std::span<const float> weights;  // (tokens) or none
  index_t all_batch = 0;           ///< tokens of a step on all ranks
  index_t all_judging = 0;         ///< tokens that judge on all ranks
  double energy = 0;               ///< mean weight ‖target‖² of all ranks' tokens
  std::vector<index_t> judging;    ///< rows of this rank that judge
  std::vector<index_t> batch;      ///< rows of this rank in the present step
  TokenOrder order;
};

template <Device D>
MlpRefiner<D>::MlpRefiner(RefinableMatrix<D>& gate, RefinableMatrix<D>& up, RefinableMatrix<D>& down,
                          const RefineOptions& options)
    : options_(checked(options)),
      mlp_(gate, up, down, options_.batch, options_.products),
      mean_(std::ssize(mlp_.parameters())),
      square_(mean_.size()),
      best_(mean_.size()),
      inputs_(mlp_.max_tokens() * mlp_.hidden()),
      targets_(mlp_.max_tokens() * mlp_.hidden()),
      weights_(mlp_.max_tokens()) {}

template <Device D>
auto MlpRefiner<D>::share_out(const comm::Communicator& comm, Queue<D>& queue, Tokens inputs, Tokens targets,
                              std::span<const float> weights) const -> Share {
  HACK_EXPECT(weights.empty() || std::ssize(weights) == inputs.rows);
  HACK_EXPECT(inputs.rows == targets.rows && inputs.cols == mlp_.hidden() && targets.cols == mlp_.hidden());
  const index_t mine = inputs.rows;
  const index_t before = comm::exclusive_sum(comm, mine);
  // Sums of squares are finite on every rank or on none: all fail together.
  std::array<double, 3> sums = {static_cast<double>(mine), sum_of_squares(queue.threads(), inputs, weights),
                                sum_of_squares(queue.threads(), targets, weights)};
  comm::all_reduce_sum(comm, sums);
  const auto all = static_cast<index_t>(sums[0]);
  validate(all > 0, "nothing to refine with (no rank has tokens); give a longer calibration text");
  validate(std::isfinite(sums[1]) && std::isfinite(sums[2]),
           "the {} of the refined layer hold NaN or infinity; check the checkpoint and its earlier layers",
           std::isfinite(sums[1]) ? "targets" : "inputs");
  validate(sums[2] > 0,
           "the targets of the refined layer are all zero (a relative error has no meaning); check the "
           "checkpoint");
  // n tokens are spread evenly over all tokens in rank order; a rank takes as many as fall on its own, so that the
  // shares add up to n.
  const auto share_of = [&](index_t n) {
    return static_cast<std::size_t>((before + mine) * n / all - before * n / all);
  };
  Share share{.inputs = inputs,
              .targets = targets,
              .weights = weights,
              .all_batch = std::min(options_.batch, all),
              .all_judging = std::min(judging_tokens, all),
              .energy = sums[2] / sums[0],
              .judging = {},
              .batch = {},
              .order = TokenOrder(mine, options_.seed)};
  share.batch.resize(share_of(share.all_batch));
  share.judging.resize(share_of(share.all_judging));
  TokenOrder(mine, ~options_.seed).take(share.judging);
  return share;
}

template <Device D>
const float* MlpRefiner<D>::Placed::place(const Buffer<float>& host, index_t size) {
  if constexpr (D == Device::cpu) {
    return host.data();
  } else {
    if (copy_.size() < host.size()) copy_ = Buffer<float, D>(host.size());
    kernels::copy_from_host<D>(copy_.data(), host.data(), static_cast<std::size_t>(size) * sizeof(float));
    return copy_.data();
  }
}

/// Brings rows of the share together.
template <Device D>
auto MlpRefiner<D>::gather(Queue<D>& queue, const Share& share, std::span<const index_t> rows) -> Batch {
  const index_t hidden = mlp_.hidden(), tokens = std::ssize(rows);
  const auto bytes = static_cast<std::size_t>(hidden) * sizeof(float);
#pragma omp parallel for schedule(static) num_threads(queue.threads())
  for (index_t i = 0; i < tokens; ++i) {
    const index_t row = rows[static_cast<std::size_t>(i)];
    std::memcpy(inputs_.data() + i * hidden, share.inputs.row(row), bytes);
    std::memcpy(targets_.data() + i * hidden, share.targets.row(row), bytes);
    weights_.data()[i] = weight_of(share.weights, row);
  }
  queue.wait();  // the batch before has been read
  return {{inputs_there_.place(inputs_, tokens * hidden), tokens, hidden},
          {targets_there_.place(targets_, tokens * hidden), tokens, hidden},
          weights_there_.place(weights_, tokens)};
}

/// The loss of the parameters as of the last rebuild.
template <Device D>
double MlpRefiner<D>::judge(const comm::Communicator& comm, Queue<D>& queue, const Share& share) {
  const std::span<const index_t> rows(share.judging);
  const auto chunk = static_cast<std::size_t>(mlp_.max_tokens());
  double sum = 0;
  for (std::size_t first = 0; first < rows.size(); first += chunk) {
    const std::span<const index_t> part = rows.subspan(first, std::min(chunk, rows.size() - first));
    const Batch batch = gather(queue, share, part);
    sum += mlp_.squared_error(queue, batch.inputs, batch.targets, batch.weights);
  }
  return comm::all_reduce_sum(comm, sum) / static_cast<double>(share.all_judging) / share.energy;
}

/// Takes step `step` (0, 1, …) of Adam down the gradient of the next batch.
template <Device D>
void MlpRefiner<D>::descend(const comm::Communicator& comm, Queue<D>& queue, Share& share, int step) {
  share.order.take(share.batch);
  const Batch batch = gather(queue, share, share.batch);
  // Relative to the energy of all tokens, not of the batch: a few tokens can hold most of the energy, and the steps
  // would jump with every batch that holds one of them.
  mlp_.differentiate(queue, batch.inputs, batch.targets, 1 / (static_cast<double>(share.all_batch) * share.energy),
                     batch.weights);
  comm::all_reduce_sum<D>(comm, queue, {mlp_.gradients().data(), 1, mean_.size()});
  const double cosine = std::cos(std::numbers::pi * step / options_.steps);
  kernels::adam<D>(queue, {.rate = options_.rate * (1 + cosine) / 2, .number = step + 1, .epsilon = options_.epsilon},
                   mlp_.gradients().data(), mean_.data(), square_.data(), mlp_.parameters().data(), mean_.size());
  mlp_.rebuild(queue);
}

template <Device D>
RefineReport MlpRefiner<D>::refine(const comm::Communicator& comm, Queue<D>& queue, Tokens inputs, Tokens targets,
                                   std::span<const float> weights) {
  Share share = share_out(comm, queue, inputs, targets, weights);
  const auto parameter_bytes = static_cast<std::size_t>(best_.bytes());
  const auto keep = [&] {
    queue.wait();
    kernels::copy_to_host<D>(best_.data(), mlp_.parameters().data(), parameter_bytes);
  };
  kernels::clear<D>(queue, {mean_.data(), 1, mean_.size()});
  kernels::clear<D>(queue, {square_.data(), 1, square_.size()});
  keep();
  mlp_.rebuild(queue);
  RefineReport report;
  report.loss_before = report.loss_after = judge(comm, queue, share);
  validate(std::isfinite(report.loss_before),
           "the weights of the refined layer or its outputs are not finite; check the checkpoint");
  for (int step = 1; step <= options_.steps; ++step) {
    descend(comm, queue, share, step - 1);
    if (step % steps_between_judgements != 0 && step != options_.steps) continue;
    const double loss = judge(comm, queue, share);
    if (!std::isfinite(loss)) break;
    if (loss >= report.loss_after) continue;
    report.loss_after = loss;
    report.best_step = step;
    keep();
  }
  queue.wait();
  kernels::copy_from_host<D>(mlp_.parameters().data(), best_.data(), parameter_bytes);
  mlp_.rebuild(queue);
  return report;
}

template class MlpRefiner<Device::cpu>;
template class MlpRefiner<Device::cuda>;

}  // namespace hack::svd
