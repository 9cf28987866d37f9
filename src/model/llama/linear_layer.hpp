#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kernels/affine.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "svd/factored_matrix.hpp"

namespace hack::model {

/// What weights are held in; nothing: each in the codec that it is stored in.
using HeldType = std::optional<DType>;

inline std::string_view name_of(HeldType type) { return type ? to_string(*type) : "stored"; }

/// What these columns of a matrix of the checkpoint are held in (see read_weights()).
Codec held_codec(const Checkpoint& checkpoint, const std::string& name, svd::Range cols, HeldType type);

/// Where weights come from: the checkpoint, and for compressed matrices the archive (may be null).
struct WeightSource {
  const Checkpoint& checkpoint;
  const svd::FactorSource* archive;
  HeldType type;
};

/// Reads rows × cols of a matrix of the checkpoint and holds them in `type`. Without one they are held as the file has
/// them, where they have a codec and the columns begin and end between its blocks, and otherwise in the checkpoint's
/// exact type. A few hundred rows at a time, so that no second copy of the matrix is ever in memory.
template <Device D>
WeightMatrix<D> read_weights(const Checkpoint& checkpoint, const std::string& name, svd::Range rows, svd::Range cols,
                             HeldType type);

/// Reads a vector of n numbers (a norm's weights, a bias), or a part of it.
template <Device D>
Buffer<float, D> read_vector(const Checkpoint& checkpoint, const std::string& name, svd::Range part);

/// One rank's block of a linear layer y = W x + b: dense, or as factors where the archive has the matrix.
template <Device D>
class LinearLayer {
 public:
  /// `name` without ".weight" / ".bias". `has_bias`: whether this rank adds the bias (of a layer whose input columns
  /// are split only one rank does).
  LinearLayer(const WeightSource& source, const std::string& name, svd::Range rows, svd::Range cols, bool has_bias);

  /// y = W x + b over this rank's block; x (tokens, cols), y (tokens, rows). Its two steps: y = W x, y += b.
  void apply(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) const;

  void multiply(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) const;
  void add_bias(Queue<D>& queue, MatrixView<float, D> y) const;
  /// The same as what operations that join several layers take; valid until replace().
  kernels::AffineView<D> view() const;

  /// Takes other weights of the same shape in place of its own; the bias stays.
  void replace(WeightMatrix<D> weights);

  index_t rows() const { return rows_; }
  /// Bytes of weights read by one decoded token.
  index_t bytes() const;
  /// Numbers that they stand for: each is multiplied once for every token.
  index_t numbers() const;

 private:
  index_t rows_;
  WeightMatrix<D> dense_;
  std::optional<svd::FactoredMatrix<D>> factored_;
  Buffer<float, D> bias_;
};

}  // namespace hack::model
