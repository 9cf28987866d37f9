#pragma once

#include <memory>
#include <string>

#include "model/llama/linear_layer.hpp"
#include "svd/train/trained_matrix.hpp"

namespace hack::model {

/// One rank's block of a linear layer y = W x + b in training, in f32: a trained matrix of an archive, or weights of
/// the checkpoint that stay as they are. The bias stays.
template <Device D>
class TrainingLinear {
 public:
  using Input = MatrixView<const float, D>;
  using Output = MatrixView<float, D>;

  /// `name` without ".weight" and ".bias". `adds_bias`: whether this rank adds the bias.
  TrainingLinear(const WeightSource& source, const std::string& name, const svd::MatrixCut& cut, bool adds_bias);

  index_t rows() const { return cut_.rows.size(); }
  index_t cols() const { return cut_.cols.size(); }
  /// Null where the weights stay.
  svd::TrainedMatrix<D>* trained() { return trained_.get(); }

  /// Between these the layer can be used.
  void open(Queue<D>& queue);
  void close();

  /// y = W x + b over this rank's block; x (tokens, cols), y (tokens, rows). `rounded` as of kernels::layer_output.
  void apply(Queue<D>& queue, Input x, Output y, DType rounded) const;
  /// dx = dy W.
  void input_gradient(Queue<D>& queue, Input dy, Output dx, DType rounded) const;
  /// Adds the gradients of the parameters where there are some; `space` has rows · cols numbers.
  void weight_gradient(Queue<D>& queue, Input dy, Input x, float* space, DType rounded);

 private:
  Input weights() const;

  svd::MatrixBlock cut_;
  std::unique_ptr<svd::TrainedMatrix<D>> trained_;
  WeightMatrix<D> fixed_;  // (rows, cols) where nothing is trained
  Buffer<float, D> bias_;  // (rows) or none
};

}  // namespace hack::model
