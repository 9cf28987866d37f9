#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.hpp"

namespace hack::testing {

/// A dense matrix in double, row-major.
struct Dense {
  index_t rows = 0;
  index_t cols = 0;
  std::vector<double> data;

  double operator()(index_t i, index_t j) const { return data[i * cols + j]; }
};

/// Llama in double precision, one token at a time, written from the model's definition with plain loops: the slow,
/// obvious twin of model::Llama.
class ReferenceLlama {
 public:
  explicit ReferenceLlama(const model::Checkpoint& checkpoint);

  /// Replaces a weight matrix, e.g. by a rebuilt one.
  void set(const std::string& name, Dense matrix) { weights_[name] = std::move(matrix); }
  const Dense& weight(const std::string& name) const { return weights_.at(name); }

  /// Logits (vocabulary) after every token of `ids`.
  std::vector<std::vector<double>> logits(const std::vector<int>& ids) const;

  /// -log softmax(logits after ids[t])[ids[t + 1]], for t = 0 … size - 2.
  std::vector<double> losses(const std::vector<int>& ids) const;

 private:
  using Vector = std::vector<double>;
  Vector linear(const std::string& name, const Vector& x) const;
  Vector norm(const std::string& name, const Vector& x) const;
  /// Of each head by itself, where there is such a norm.
  void norm_heads(const std::string& name, Vector& x) const;
  void rotate(Vector& x, index_t position) const;
  Vector attend(index_t layer, const Vector& x, std::vector<Vector>& keys, std::vector<Vector>& values) const;

  model::LlamaConfig config_;
  std::map<std::string, Dense> weights_;
};

}  // namespace hack::testing
