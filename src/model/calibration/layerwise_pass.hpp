#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/host_view.hpp"
#include "model/calibration/activation_stream.hpp"
#include "model/calibration/calibration_text.hpp"
#include "model/llama/layer_runner.hpp"
#include "svd/fit/input_sums.hpp"

namespace hack::model {

/// Where the inputs of linear layers come from: q, k, v | o | gate, up | down, and behind all layers the head.
enum class LinearInput { attention, attention_output, mlp, inner, head };

std::string_view to_string(LinearInput input);

/// What a linear layer of a decoder layer multiplies.
constexpr LinearInput linear_input(Linear linear) {
  switch (linear) {
    case Linear::q:
    case Linear::k:
    case Linear::v:
      return LinearInput::attention;
    case Linear::o:
      return LinearInput::attention_output;
    case Linear::gate:
    case Linear::up:
      return LinearInput::mlp;
    case Linear::down:
      break;
  }
  return LinearInput::inner;
}

/// How a text is taken through a model.
struct PassOptions {
  DType type = DType::f32;      ///< what weights are held in
  bool has_compressed = false;  ///< a compressed stream beside the dense one
  /// p: a squared error of a token counts (mean square of the dense stream)^-p. p = 1 makes errors relative to the
  /// stream's size, as what follows does by its RMSNorm; 0 counts all alike. The size differs between tokens by orders
  /// of magnitude: a few would decide over all.
  double token_power = 0;
};

/// Takes windows of text through a model layer by layer, so that one layer is in memory at a time; each rank runs whole
/// layers on its own windows. Beside the dense stream, the states of the dense model, there may be a compressed stream:
/// the states of the model whose matrices are as they are after replace():
///
///     dense stream        x ─ attention ─ mlp ─ x ─ …
///     compressed stream   x̂ ─ attention ─ mlp ─ x̂ ─ …      matrices replaced so far
///
/// For every layer: load, then in the order of LinearInput statistics and replacements, and in between the two
/// advances; at last load_head. Streams, layers and sums are in memory of D; what is handed out is the host's.
template <Device D>
class LayerwisePass {
 public:
  using Layer = LlamaLayer<D>;
  using Stream = MatrixView<float, D>;

  /// Communicator, queue and checkpoint outlive this.
  LayerwisePass(const comm::Communicator& comm, Queue<D>& queue, const CalibrationText& text,
                const PassOptions& options);

  void load(index_t layer);
  /// The final norm in place of a layer; all layers are behind the streams.
  void load_head();

  /// How many numbers an input has.
  index_t input_size(LinearInput input) const;

  /// Sums over the inputs x̂ of some linear layers, over all windows of all ranks; `with_cross` also those with what the
  /// dense model has there: its inputs, or what down makes of them (without a bias), which has the input `inner` to
  /// itself. Without a compressed stream the inputs are the dense one's. Collective.
  svd::InputStatistics statistics(LinearInput input, bool with_cross);

  /// Gives the compressed stream other weights from here on; values (rows, cols).
  void replace(Linear linear, MatrixView<const float> values);

  /// Takes all streams past the layer's attention, or its MLP.
  void advance_attention();
  void advance_mlp();

  /// Takes the dense stream alone past the MLP: what its output will be is then known to the compressed stream.
  void advance_dense_mlp();
  /// This rank's inputs of gate and up in the compressed stream, and what its MLP would have to add to equal the dense
  /// one; after advance_dense_mlp().
  Buffer<float> mlp_inputs();         // (tokens, hidden)
  Buffer<float> mlp_targets() const;  // (tokens, hidden)
  /// What errors in their outputs count, by the stream behind the layer.
  std::vector<float> token_weights();  // (tokens)

  /// All streams between two layers, for a run that goes on from there.
  std::vector<HostView<float, D>> state() const;
  /// Takes them up again. An Error where they are of other windows.
  void restore(const std::string& state);

  /// A layer's dense weights once more, for whoever changes them.
  Layer read_layer(index_t layer) const;
  /// Takes one window, at most as long as the text's, through a whole layer, or the final norm.
  void run(const Layer& layer, Stream x);
  void run_final_norm(Stream x);

  index_t tokens() const { return dense_.count() * dense_.context(); }
  const Layer& layer() const { return *dense_layer_; }

 private:
  using Runner = LayerRunner<D>;
  using Input = MatrixView<const float, D>;

  Input input_of(LinearInput input, Runner& runner, const Layer& layer, Input x);
  std::vector<float> weights_of(Input dense_stream) const;  // (tokens)
  Stream product_of_down(Input inner);                      // (tokens, hidden), without the bias
  Stream compressed_inner(index_t w);                       // (context, intermediate)
  void advance_attention(Runner& runner, const Layer& layer, ActivationStream<D>& stream);
  void advance_mlp(Runner& runner, const Layer& layer, ActivationStream<D>& stream);
  /// The weights that are first to multiply an input of the layer that is loaded.
  std::string taker_of(LinearInput input) const;

  const Checkpoint& checkpoint_;
  DType type_;
  double token_power_;
  const comm::Communicator& comm_;
  Queue<D>& queue_;
  comm::Communicator self_;
  ShardPlan plan_;
  KvCache<D> cache_;  // of one layer and one window
  Runner dense_runner_;
  Runner compressed_runner_;
  ActivationStream<D> dense_;
  std::optional<ActivationStream<D>> compressed_;
  index_t number_ = 0;  // of the layer that is loaded
  std::optional<Layer> dense_layer_;
  std::optional<Layer> compressed_layer_;
  Buffer<float, D> final_norm_;        // (hidden), after load_head()
  bool is_dense_ahead_ = false;        ///< the dense stream is past the MLP already
  Buffer<float, D> product_;           // (context, hidden)
  Buffer<float, D> compressed_inner_;  // (tokens, intermediate) inputs of down in the compressed stream
  bool has_compressed_inner_ = false;  ///< they are those of gate and up as they are now
};

}  // namespace hack::model
