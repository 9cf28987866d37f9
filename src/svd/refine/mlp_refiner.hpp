#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "svd/refine/mlp_gradient.hpp"

namespace hack::svd {

struct RefineOptions {
  int steps = 120;
  double rate = 5e-4;           ///< of Adam at the first step; falls to 0 as half a cosine (Loshchilov and Hutter 2017)
  double epsilon = 1e-8;        ///< of Adam
  index_t batch = 1024;         ///< tokens of a step, on all ranks together
  std::uint64_t seed = 0;       ///< of the order in which tokens are taken
  DType products = DType::f32;  ///< what large products may round their numbers to, f32 or bf16
};

/// Losses are means of weight ‖f(x) - target‖² over the judging tokens, relative to the mean of weight ‖target‖² over
/// all tokens.
struct RefineReport {
  double loss_before = 0;
  double loss_after = 0;  ///< never above loss_before
  int best_step = 0;      ///< after how many steps the parameters were best; they are kept
};

/// Fits the parameters of one layer's MLP on D to given outputs with Adam (Kingma and Ba 2015, arXiv 1412.6980):
/// f(x) = down (silu(gate x) * up x) is to meet targets y, for instance the outputs of the original layer, where x are
/// the outputs of the compressed layers before it.
///
/// Every rank holds all parameters, takes its share of each step's tokens from its own inputs, and the gradients of all
/// ranks are summed:
///
///     rank 0: tokens 0 … a    gradients ┐
///     rank 1: tokens a … b    gradients ┼ one all-reduce of all parameters a step → the same step of Adam everywhere
///     rank 2: none            zeros     ┘
///
/// A rank's share of a step is in proportion to the tokens that it holds, so that no token is taken more often than
/// others. A rank goes through its tokens in random order, each once before any comes again. The result depends on
/// options, inputs and the number of ranks, not on threads.
///
/// Up to 2,048 of the tokens, drawn at random with equal chance from all ranks' tokens, judge the parameters before the
/// first step, every 20 steps and after the last; the best ones are kept.
template <Device D>
class MlpRefiner {
 public:
  /// An Error states which number of the options is impossible. The matrices outlive this.
  MlpRefiner(RefinableMatrix<D>& gate, RefinableMatrix<D>& up, RefinableMatrix<D>& down, const RefineOptions& options);

  /// Refines on this rank's tokens, in memory of the host; inputs and targets (tokens, hidden), a rank may have no
  /// tokens. `weights` (tokens), at least 0, are factors of the tokens' errors; without weights every factor is 1. The
  /// matrices are rebuilt from the best parameters. A second call goes on from there with a fresh state of Adam.
  /// Collective. An Error, on all ranks
  /// alike, where numbers are not finite, all targets are zero or no rank has tokens.
  RefineReport refine(const comm::Communicator& comm, Queue<D>& queue, MatrixView<const float> inputs,
                      MatrixView<const float> targets, std::span<const float> weights = {});

 private:
  struct Share;  // this rank's part of the tokens

  /// A batch where D reads it: the host's own memory, or a copy.
  class Placed {
   public:
    const float* place(const Buffer<float>& host, index_t size);

   private:
    Buffer<float, D> copy_;
  };

  Share share_out(const comm::Communicator& comm, Queue<D>& queue, MatrixView<const float> inputs,
                  MatrixView<const float> targets, std::span<const float> weights) const;
  /// Tokens of the rows brought together, in memory of D.
  struct Batch {
    MatrixView<const float, D> inputs;   // (tokens, hidden)
    MatrixView<const float, D> targets;  // (tokens, hidden)
    const float* weights;                // (tokens)
  };

  Batch gather(Queue<D>& queue, const Share& share, std::span<const index_t> rows);
  double judge(const comm::Communicator& comm, Queue<D>& queue, const Share& share);
  void descend(const comm::Communicator& comm, Queue<D>& queue, Share& share, int step);

  RefineOptions options_;
  MlpGradient<D> mlp_;
  Buffer<float, D> mean_;    // (parameters) of the gradients, Adam's
  Buffer<float, D> square_;  // (parameters) of the gradients, Adam's
  Buffer<float> best_;       // (parameters) on the host
  Buffer<float> inputs_;     // (batch, hidden)
  Buffer<float> targets_;    // (batch, hidden)
  Buffer<float> weights_;    // (batch)
  Placed inputs_there_, targets_there_, weights_there_;
};

}  // namespace hack::svd
