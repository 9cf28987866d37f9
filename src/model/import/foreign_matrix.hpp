#pragma once

#include <memory>
#include <string>

#include "model/import/foreign_tensors.hpp"
#include "svd/archive/matrix_part.hpp"

namespace hack::model {

/// A matrix (rows, cols) of a model as another program has stored it.
class ForeignMatrix {
 public:
  virtual ~ForeignMatrix() = default;

  /// All its tiles, each one term, with choices whose energies are 0; nothing is rounded. An Error names the tensor
  /// where the terms of an archive cannot hold it.
  virtual svd::MatrixPart part() const = 0;

  /// What its numbers are in, or are expected to be in.
  virtual Codec codec() const = 0;
};

/// What is asked of a matrix: the name and sizes that the model gives it.
struct MatrixOf {
  std::string name;  ///< Hugging Face's, with ".weight"
  index_t rows = 0;
  index_t cols = 0;

  /// The name without ".weight".
  std::string module() const;
  svd::TileGrid whole() const { return {rows, cols, rows, cols}; }
};

/// Two linear layers in place of one, x -> V x -> U V x: U (rows, rank) and V (rank, cols). Their names are those that
/// SVD-LLM (gate_u_proj and gate_v_proj for gate_proj) or ASVD (gate_proj.ALinear and .BLinear) gives them. One term of
/// low rank for the whole matrix, in the factors' type; singular values are 1. Null where there are none.
std::unique_ptr<ForeignMatrix> find_low_rank(ForeignTensors& tensors, const MatrixOf& of);

/// Plain numbers: one dense term for the whole matrix. Null where there is no tensor of that name.
std::unique_ptr<ForeignMatrix> find_dense(ForeignTensors& tensors, const MatrixOf& of);

/// A matrix of one tile that covers it, of which a term has been made.
svd::MatrixPart whole_part(const MatrixOf& of, const svd::StoredTerm& term);

}  // namespace hack::model
