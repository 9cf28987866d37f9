#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/divergence.hpp"
#include "model/llama/kv_cache.hpp"
#include "model/llama/layer_runner.hpp"
#include "model/llama/names.hpp"

namespace hack::model {

/// Numbers beyond it are taken for an overflow: norms sum the squares of what may be 16384 of them.
inline constexpr float largest_sound = 1e17f;

/// A Llama whose layers are shared out to the ranks of one communicator. All ranks call every function together, with
/// the same ids. Per layer two all-reduces of (tokens, hidden): after the attention's output projection and after down.
///
///     ids ─ embed ─ Σ ─┬─ norm ─ q,k,v ─ attention ─ o ─ Σ ─ + ─┬─ norm ─ gate,up ─ swiglu ─ down ─ Σ ─ + ─ … ─ norm
///                      └──────────────────────────────────────┘└──────────────────────────────────────┘
template <Device D>
class Llama {
 public:
  /// Reads this rank's share of the weights, and nothing else.
  Llama(const WeightSource& source, const comm::Communicator& tensor, Queue<D>& queue)
      : Llama(source, tensor, queue, {tensor.rank(), tensor.size()}) {}

  /// One rank's share whatever `tensor` is. Alone (tensor.size() == 1) it does what that rank of `slice.parts` does,
  /// the all-reduces left out: for timings, its values are of no model.
  Llama(const WeightSource& source, const comm::Communicator& tensor, Queue<D>& queue, Slice slice);

  const LlamaConfig& config() const { return config_; }
  const comm::Communicator& tensor() const { return tensor_; }
  Queue<D>& queue() const { return queue_; }
  const ShardPlan& plan() const { return plan_; }
  KvCache<D> make_cache(index_t capacity) const;

  /// Runs ids at positions cache.length()… through all layers and appends them to the cache.
  /// Returns the final normed states (tokens, hidden), valid until the next call; the same on every rank.
  MatrixView<const float, D> forward(std::span<const int> ids, KvCache<D>& cache);

  /// forward() for the last of the ids alone: its final normed state (1, hidden). What only the others need is left
  /// out.
  MatrixView<const float, D> last_state(std::span<const int> ids, KvCache<D>& cache);

  /// Runs the token state->id at state->position through all layers and appends it to the cache, whose length the
  /// caller advances; `state` is in memory of D. Writes the logits that follow (1, vocabulary), the same on every rank.
  /// What it does is the same for every token, so that it can be replayed where can_replay() says so.
  void step(const DecodeState* state, KvCache<D>& cache, MatrixView<float, D> logits);
  /// Whether collectives stay on the device: ranks that share a GPU wait and copy.
  bool can_replay() const;

  /// Negative log-likelihoods, in nats, of targets[t] after state t; the same on every rank.
  std::vector<float> losses(MatrixView<const float, D> states, std::span<const int> targets);

  /// How the next-token distributions after `states` diverge, over the whole vocabulary, from those after `reference`,
  /// the final states of the same tokens in another model and this rank's rows of its head. The same on every rank.
  std::vector<kernels::PartialDivergence> divergences(const kernels::FinalStates<D>& reference,
                                                      MatrixView<const float, D> states);

  /// What makes logits of states: this rank's rows (own vocabulary, hidden).
  kernels::AffineView<D> head() const { return head_ ? head_->view() : kernels::AffineView<D>{embedding_.view()}; }
  /// Whether that comes from the archive.
  bool has_compressed_head() const { return has_compressed_head_; }

  /// Logits (vocabulary) of one state (1, hidden), gathered on rank 0; empty elsewhere.
  std::vector<float> logits(MatrixView<const float, D> state);
  /// The same of each of some states (tokens, hidden).
  std::vector<std::vector<float>> all_logits(MatrixView<const float, D> states);
  /// The same in memory of D and on every rank; out (1, vocabulary).
  void logits(MatrixView<const float, D> state, MatrixView<float, D> out);

  /// Whether the residual stream of the last forward pass held no NaN, no infinity and nothing so large that its
  /// square is none: what a layer adds never takes that away again, so that the end shows it of all layers. Looked at
  /// on CPUs alone. The same on every rank.
  bool stream_is_sound() const { return stream_is_sound_; }
  /// Says in a sentence behind which tensor such a number first comes up when these ids are run from the start: for the
  /// Error that is due then. Looks at every layer's numbers, which takes its time. All ranks.
  std::string explain_overflow(std::span<const int> ids);

  /// Bytes of weights this rank reads for one decoded token.
  index_t bytes_per_token() const;
  /// Numbers of the matrices that these are: each is multiplied once for every token.
  index_t numbers_per_token() const;
  /// Of these, bytes of the head, which makes logits of states.
  index_t head_bytes() const { return head_ ? head_->bytes() : embedding_.bytes(); }
  /// Of these, bytes that last_state() reads for the last of the ids alone: the last layer's behind its attention.
  index_t last_state_bytes() const;
  /// Bytes of weights this rank holds.
  index_t bytes_held() const;

 private:
  /// Both of these: states of the last `outputs` ids.
  MatrixView<const float, D> run(std::span<const int> ids, KvCache<D>& cache, index_t outputs);
  void reserve(index_t tokens);
  /// Takes the stream, which holds embedded tokens of this rank's shard, through all layers; behind the last layer's
  /// attention only the last `outputs` tokens.
  MatrixView<const float, D> run_layers(MatrixView<float, D> x, Position<D> position, KvCache<D>& cache,
                                        index_t outputs);

  /// Where a layer's numbers are looked at by explain_overflow().
  enum class Side { input, output };
  void probe(Side side, index_t layer, Linear linear, MatrixView<const float, D> x) const {
    if (probe_) probe_((side == Side::input ? "input of " : "output of ") + weight_name(layer, linear), x);
  }

  LlamaConfig config_;
  const comm::Communicator& tensor_;
  Queue<D>& queue_;
  ShardPlan plan_;
  WeightMatrix<D> embedding_;  // (own vocabulary, hidden)
  bool has_compressed_head_ = false;
  std::optional<LinearLayer<D>> head_;  // (own vocabulary, hidden); nothing where tied
  std::vector<LlamaLayer<D>> layers_;
  Buffer<float, D> final_norm_;  // (hidden)
  LayerRunner<D> runner_;
  Buffer<float, D> stream_;  // (tokens, hidden) residual stream
  Buffer<float, D> states_;  // (tokens, hidden) final, normed
  bool stream_is_sound_ = true;
  std::function<void(const std::string& what, MatrixView<const float, D> x)> probe_;
};

}  // namespace hack::model
