#include "model/heal/head_gradient.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/gradient.hpp"
#include "kernels/host_view.hpp"

namespace hack::model {

template <Device D>
auto HeadGradient<D>::room(Buffer<float, D>& buffer, index_t tokens) -> Logits {
  if (buffer.size() == 0) buffer = Buffer<float, D>(chunk * head_.rows);
  return {buffer.data(), tokens, head_.rows};
}

template <Device D>
void HeadGradient<D>::find_log_sums(Logits reference, Logits logits) {
  const index_t tokens = logits.rows, both = 2 * tokens;
  if (parts_.size() == 0) {
    parts_ = Buffer<float, D>(4 * chunk);
    log_sums_ = Buffer<float, D>(2 * chunk);
    divergences_ = Buffer<float, D>(chunk);
  }
  kernels::exp_sums<D>(queue_, reference, parts_.data(), parts_.data() + both);
  kernels::exp_sums<D>(queue_, logits, parts_.data() + tokens, parts_.data() + both + tokens);
  const HostView<float, D> parts(queue_, parts_.data(), 2 * both);
  // Maxima over the ranks first, so that no exponential overflows; then the sums.
  std::vector<float> maxima(parts.data(), parts.data() + both);
  comm::all_reduce_max(tensor_, std::span(maxima));
  std::vector<double> sums(static_cast<std::size_t>(both));
  for (std::size_t t = 0; t < sums.size(); ++t) {
    const float own = parts.data()[t];
    sums[t] = std::isinf(own) ? 0.0 : parts.data()[both + static_cast<index_t>(t)] * std::exp(double{own} - maxima[t]);
  }
  comm::all_reduce_sum(tensor_, std::span(sums));
  std::vector<float> log_sums(sums.size());
  for (std::size_t t = 0; t < sums.size(); ++t) log_sums[t] = static_cast<float>(maxima[t] + std::log(sums[t]));
  kernels::copy_from_host<D>(log_sums_.data(), log_sums.data(), log_sums.size() * sizeof(float));
}

template <Device D>
double HeadGradient<D>::run(const kernels::FinalStates<D>& reference, MatrixView<const float, D> states, float factor,
                            MatrixView<float, D> gradient) {
  HACK_EXPECT(reference.states.rows == states.rows && reference.head.rows() == head_.rows);
  HACK_EXPECT(gradient.rows == 0 || gradient.rows == states.rows);
  double sum = 0;
  for (index_t first = 0; first < states.rows; first += chunk) {
    const index_t tokens = std::min(chunk, states.rows - first);
    const Logits l = room(reference_, tokens), m = room(logits_, tokens);
    kernels::affine<D>(queue_, reference.states.rows_from(first, tokens), reference.head, l);
    kernels::layer_output<D>(queue_, states.rows_from(first, tokens), head_, m, rounded_);
    find_log_sums(l, m);
    kernels::divergence_gradient<D>(queue_, l, {log_sums_.data(), log_sums_.data() + tokens}, factor, m,
                                    divergences_.data());
    const HostView<float, D> divergences(queue_, divergences_.data(), tokens);
    for (const float divergence : divergences.span()) sum += divergence;
    if (gradient.rows == 0) continue;
    kernels::input_gradient<D>(queue_, m, head_, gradient.rows_from(first, tokens), rounded_);
  }
  if (gradient.rows > 0) comm::all_reduce_sum<D>(tensor_, queue_, gradient);
  return comm::all_reduce_sum(tensor_, sum);
}

template class HeadGradient<Device::cpu>;
template class HeadGradient<Device::cuda>;

}  // namespace hack::model
