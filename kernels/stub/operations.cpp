// Operations on the GPU, in a build that has none: each says why.

#include "kernels/attention.hpp"
#include "kernels/back_propagation.hpp"
#include "kernels/copy.hpp"
#include "kernels/divergence.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gated_linear.hpp"
#include "kernels/gradient.hpp"
#include "kernels/gram.hpp"
#include "kernels/head_projection.hpp"
#include "kernels/linear.hpp"
#include "kernels/interpolative.hpp"
#include "kernels/replay.hpp"
#include "kernels/sampling.hpp"
#include "kernels/tile_svd.hpp"
#include "kernels/vocabulary.hpp"

namespace hack {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;

[[noreturn]] void refuse() { throw Error(std::string(kernels::why_unavailable(D))); }

}  // namespace

namespace kernels {

template <>
void linear<D>(Queue<D>&, X, WeightView<D>, Y, Write) {
  refuse();
}

template <>
void add_bias<D>(Queue<D>&, const float*, Y) {
  refuse();
}

template <>
void clear<D>(Queue<D>&, Y) {
  refuse();
}

template <>
void add<D>(Queue<D>&, X, Y) {
  refuse();
}

template <>
bool project_heads<D>(Queue<D>&, X, const HeadProjection<D>&, Y) {
  refuse();
}

template <>
void rms_norm<D>(Queue<D>&, X, const float*, float, Y) {
  refuse();
}

template <>
void add_and_norm<D>(Queue<D>&, X, Y, const float*, float, Y) {
  refuse();
}

template <>
void swiglu<D>(Queue<D>&, X, Y) {
  refuse();
}

template <>
void rope<D>(Queue<D>&, index_t, Position<D>, const float*, Y) {
  refuse();
}

template <>
void embed<D>(Queue<D>&, std::span<const int>, WeightView<D>, index_t, Y) {
  refuse();
}

template <>
void embed<D>(Queue<D>&, const DecodeState*, WeightView<D>, index_t, Y) {
  refuse();
}

template <>
void append_to_cache<D>(Queue<D>&, X, Position<D>, CacheView<D>) {
  refuse();
}

template <>
void attention<D>(Queue<D>&, X, CacheView<D>, CacheView<D>, std::span<const int>, Position<D>, Y) {
  refuse();
}

template <>
void partial_losses<D>(Queue<D>&, X, const AffineView<D>&, index_t, std::span<const int>, std::span<PartialLoss>) {
  refuse();
}

template <>
void partial_divergences<D>(Queue<D>&, const FinalStates<D>&, const FinalStates<D>&, std::span<PartialDivergence>) {
  refuse();
}

template <>
void factored_linear<D>(Queue<D>&, X, const FactoredView<D>&, Y, Write) {
  refuse();
}

template <>
void gated_linear<D>(Queue<D>&, X, const AffineView<D>&, const AffineView<D>&, Y, Y) {
  refuse();
}

template <>
void copy_rows<D>(Queue<D>&, void*, std::size_t, const void*, std::size_t, std::size_t, index_t) {
  refuse();
}

template <>
void add_outer_products<D>(Queue<D>&, X, X, MatrixView<double, D>) {
  refuse();
}

template <>
void add_gram<D>(Queue<D>&, X, MatrixView<double, D>) {
  refuse();
}

template <>
void divergences<D>(Queue<D>&, const FinalStates<D>&, const FinalStates<D>&, std::span<double>) {
  refuse();
}

template <>
void tile_svd<D>(Queue<D>&, std::span<const X>, std::span<TileSvd<D>>) {
  refuse();
}

template <>
void tile_spectra<D>(Queue<D>&, std::span<const X>, std::span<TileSvd<D>>, ReducedTiles<D>&) {
  refuse();
}

template <>
void tile_vectors<D>(Queue<D>&, std::span<const X>, const ReducedTiles<D>&, std::span<TileSvd<D>>) {
  refuse();
}

template <>
void library_svd<D>(Queue<D>&, std::span<const X>, std::span<TileSvd<D>>) {
  refuse();
}

template <>
TileSvdBytes tile_svd_bytes<D>(index_t, index_t, index_t) {
  refuse();
}

template <>
void tile_product<D>(Queue<D>&, std::span<const TileSvd<D>>, std::span<const index_t>, std::span<const Y>) {
  refuse();
}

template <>
index_t interpolation_bytes<D>(index_t, index_t, index_t) {
  refuse();
}

template <>
void interpolate_tiles<D>(Queue<D>&, std::span<InterpolativeTile<D>>) {
  refuse();
}

template <>
void layer_output<D>(Queue<D>&, X, X, Y, DType) {
  refuse();
}

template <>
void weight_gradient<D>(Queue<D>&, X, X, Y, DType) {
  refuse();
}

template <>
void input_gradient<D>(Queue<D>&, X, X, Y, DType) {
  refuse();
}

template <>
void swiglu_into<D>(Queue<D>&, X, X, Y) {
  refuse();
}

template <>
void swiglu_gradient<D>(Queue<D>&, X, Y, Y) {
  refuse();
}

template <>
void output_error<D>(Queue<D>&, X, const float*, float, Y, float*) {
  refuse();
}

template <>
void multiply_factors<D>(Queue<D>&, std::span<const FactorTile<D>>, Y) {
  refuse();
}

template <>
void factor_gradients<D>(Queue<D>&, X, std::span<const FactorTile<D>>) {
  refuse();
}

template <>
void rms_norm_gradient<D>(Queue<D>&, X, X, const float*, float, Y) {
  refuse();
}

template <>
void attention_gradient<D>(Queue<D>&, const AttentionInputs<D>&, X, const AttentionGradients<D>&) {
  refuse();
}

template <>
void exp_sums<D>(Queue<D>&, X, float*, float*) {
  refuse();
}

template <>
void divergence_gradient<D>(Queue<D>&, X, const LogSums&, float, Y, float*) {
  refuse();
}

template <>
void adam<D>(Queue<D>&, const AdamStep&, const float*, float*, float*, float*, index_t) {
  refuse();
}

template <>
void choose_token<D>(Queue<D>&, const SamplingRule&, Y, std::uint8_t*, DecodeState*) {
  refuse();
}

Replay<D>::~Replay() = default;
void Replay<D>::run(Queue<D>&, const std::function<void()>&) { refuse(); }

FactoredPlan<D>::FactoredPlan(const FactoredView<D>&, const std::uint8_t*) { refuse(); }

}  // namespace kernels
}  // namespace hack
