#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/gradient.hpp"
#include "kernels/queue.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/train/factor_parameters.hpp"
#include "svd/train/matrix_cut.hpp"
#include "svd/train/value_parameters.hpp"

namespace hack::svd {

/// Counts of numbers in the two parts of a rank's parameters: those of tiles that several ranks multiply with, which
/// every rank has in the same order, and those of its own tiles.
struct ParameterCounts {
  index_t shared = 0;
  index_t own = 0;
};

/// Where such parameters lie, or their gradients; in memory of the host.
struct ParameterPlace {
  float* shared = nullptr;
  float* own = nullptr;
};

/// A compressed matrix whose terms are trained: one rank's block of it as dense numbers on D, made of parameters on the
/// host, and the gradients of these. All terms of an archive are known: factors in FactorParameters, dense terms in
/// ValueParameters, several terms a tile and terms of the whole matrix.
template <Device D>
class TrainedMatrix {
 public:
  /// Reads the terms of the tiles that this rank's block meets, and of those that several ranks' blocks do.
  TrainedMatrix(const FactorSource& source, std::string name, const MatrixCut& cut);

  const std::string& name() const { return name_; }
  index_t rows() const { return block_.rows.size(); }
  index_t cols() const { return block_.cols.size(); }
  ParameterCounts counts() const { return counts_; }

  /// Writes the parameters that stand for the archive's numbers; both places are used from here on.
  void place(ParameterPlace parameters, ParameterPlace gradients);

  /// Makes this rank's block of the parameters, and keeps it until release().
  void rebuild(Queue<D>& queue);
  MatrixView<const float, D> weights() const { return {weights_.data(), rows(), cols()}; }  // (rows, cols)
  void release();

  /// Adds the gradients of the parameters, where dw (rows, cols) is that of weights() as of the last rebuild().
  void differentiate(Queue<D>& queue, MatrixView<const float, D> dw);

  /// Of the whole matrix: of all its terms' parameters, tile after tile, those that this rank answers for, zeros
  /// elsewhere: summed over the ranks that share the matrix they are all of them. `parameters`: where the matrix's lie.
  std::vector<float> answered(ParameterPlace parameters) const;

 private:
  using Numbers = std::variant<FactorParameters, ValueParameters>;

  /// A term, and what this rank's block has of it.
  struct Piece {
    Range rows, cols;      ///< of the matrix; empty where the block does not meet the term
    index_t row, col;      ///< where the term begins
    std::size_t pass;      ///< of the terms of its tile: the first, second, …
    bool is_shared;        ///< whether several ranks have it
    bool is_answered_for;  ///< whether this is the first rank that has it
    index_t at;            ///< its first parameter in its part
    index_t at_whole;      ///< the same among the whole matrix's
    Numbers numbers;

    bool is_met() const { return rows.size() > 0 && cols.size() > 0; }
  };

  /// The factors of a piece, or their gradients, on the host or on D.
  template <class T, Device Where>
  struct Factors {
    MatrixView<T, Where> left, right;
  };

  void add(const StoredTerm& term, const Tile& at, std::size_t pass, const MatrixCut& cut, index_t at_whole);
  index_t factor_numbers() const;
  float* place_of(const Piece& piece, const ParameterPlace& place) const {
    return (piece.is_shared ? place.shared : place.own) + piece.at;
  }
  template <class T, Device Where>
  Factors<T, Where> factors_at(T* numbers, const Piece& piece, index_t at) const;
  std::vector<kernels::FactorTile<D>> tiles(std::size_t pass, float* gradients);
  void round_factors(Queue<D>& queue);
  void write_values(Queue<D>& queue, std::size_t pass, MatrixView<float, D> to) const;

  std::string name_;
  MatrixBlock block_;
  ParameterCounts counts_;
  index_t whole_count_ = 0;
  std::vector<Piece> pieces_;
  std::vector<index_t> factor_starts_;  // (pieces) where a piece's factors begin, -1 where it has none here
  std::size_t passes_ = 1;
  ParameterPlace parameters_, gradients_;
  Buffer<float, D> weights_;  // (rows, cols) between rebuild() and release()
  Buffer<float, D> factors_;  // of all pieces, likewise
};

/// Parameters of a term.
index_t parameter_count(const TermEntry& term, index_t height, index_t width);

/// The first parameter of each tile among a whole matrix's, then those of the terms that cover all of it, their end.
std::vector<index_t> parameter_offsets(const MatrixTable& table);  // (tiles + 2)

/// A stored term with other parameters.
StoredTerm with_parameters(const StoredTerm& term, const float* parameters);

}  // namespace hack::svd
