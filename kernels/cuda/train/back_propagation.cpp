#include "kernels/back_propagation.hpp"

#include <algorithm>

#include "kernels/cuda/memory/resources.hpp"
#include "kernels/cuda/train/attention_gradient.cuh"
#include "kernels/cuda/train/back_propagation.cuh"

namespace hack::kernels {
namespace {

constexpr Device gpu = Device::cuda;
using X = MatrixView<const float, gpu>;
using Y = MatrixView<float, gpu>;
using cuda::array_of;

}  // namespace

template <>
void rms_norm_gradient<gpu>(Queue<gpu>& queue, X dy, X x, const float* weight, float epsilon, Y dx) {
  HACK_EXPECT(dy.rows == x.rows && dy.cols == x.cols && dx.rows == x.rows && dx.cols == x.cols);
  cuda::launch(queue, cuda::RmsNormGradient{array_of(dy), array_of(x), weight, epsilon, array_of(dx)});
}

template <>
void attention_gradient<gpu>(Queue<gpu>& queue, const AttentionInputs<gpu>& inputs, X dout,
                             const AttentionGradients<gpu>& gradients) {
  const index_t dim = inputs.keys.head_dim, heads = std::ssize(inputs.kv_of_head), kv_heads = inputs.keys.kv_heads;
  HACK_EXPECT(inputs.q.cols == heads * dim && dout.rows == inputs.q.rows && dout.cols == heads * dim);
  HACK_EXPECT(gradients.dk.cols == kv_heads * dim && gradients.dv.cols == gradients.dk.cols);
  validate(dim <= cuda::AttentionCall::most_dim && heads <= cuda::HeadMap::most,
           "{} heads of {} numbers on one GPU (at most {} of {}); use more ranks or compute on CPUs", heads, dim,
           cuda::HeadMap::most, cuda::AttentionCall::most_dim);
  if (inputs.q.rows == 0 || heads == 0) return;
  cuda::AttentionCall call{{},
                           heads,
                           array_of(inputs.q),
                           array_of(dout),
                           {inputs.keys.data, inputs.keys.capacity, dim},
                           {inputs.values.data, inputs.values.capacity, dim}};
  std::ranges::copy(inputs.kv_of_head, call.heads.kv);
  call.stats = queue.resources().workspace<float>(cuda::Workspace::attention_parts, 2 * heads * inputs.q.rows);
  cuda::launch(queue, cuda::QueryGradient{call, array_of(gradients.dq)});
  cuda::launch(queue, cuda::KeyGradient{call, kv_heads, array_of(gradients.dk), array_of(gradients.dv)});
}

template <>
void exp_sums<gpu>(Queue<gpu>& queue, X logits, float* maxima, float* sums) {
  cuda::launch(queue, cuda::ExpSums{array_of(logits), maxima, sums});
}

template <>
void divergence_gradient<gpu>(Queue<gpu>& queue, X reference, const LogSums& log_sums, float factor, Y logits,
                              float* divergences) {
  HACK_EXPECT(reference.rows == logits.rows && reference.cols == logits.cols);
  cuda::launch(queue, cuda::DivergenceGradient{array_of(reference), log_sums.reference, log_sums.model, factor,
                                               array_of(logits), divergences});
}

}  // namespace hack::kernels
