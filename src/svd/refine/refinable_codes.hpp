#pragma once

#include <cstdint>
#include <vector>

#include "kernels/buffer.hpp"
#include "svd/quantize/quantized_rows.hpp"
#include "svd/refine/refinable_matrix.hpp"
#include "svd/tile/block_grid.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// A whole matrix of codes, and the values that they were chosen for.
struct QuantizedMatrix {
  TileGrid grid;
  BlockGrid numbers;
  QuantizedRows rows;
  MatrixView<const float> values;  // (m, n) in the caller's memory
};

/// A matrix of codes that is trained on D: its codes and what blocks share. Number i of a block is d L(q) + m, as
/// BlockGrid has it, and with the parameters p of numbers, s and t of blocks
///
///     q = q⁰ + [position_unit p]     at most one code up or down, [] the nearest whole number
///     d = d⁰ (1 + s),     m = m⁰ + |d⁰| (L_last - L_first) t,     both rounded as they are stored
///
/// Gradients pass the rounding as if it were not there (the straight-through estimator of Bengio et al. 2013, arXiv
/// 1308.3432; for codes of weights AutoRound: Cheng et al. 2023, arXiv 2309.05516). A code begins where its value lies
/// between the codes, or close to the border where feedback took another than the nearest.
///
/// Parameters lie in the order p (m, n), s (m, blocks), t (m, blocks); without minima there is no t. The numbers are
/// made on the host, on whatever device they are multiplied.
template <Device D>
class RefinableCodes : public RefinableMatrix<D> {
 public:
  /// One step of Adam at rate 5e-4 moves a code by a hundredth.
  static constexpr float position_unit = 20;

  explicit RefinableCodes(QuantizedMatrix source);

  index_t rows() const override { return rows_; }
  index_t cols() const override { return cols_; }
  index_t count() const override { return rows_ * (cols_ + blocks() * (numbers_.has_minimum() ? 2 : 1)); }
  void place(float* parameters, float* gradients) override;
  void rebuild(Queue<D>& queue) override;
  MatrixView<const float, D> weights() const override;
  void differentiate(Queue<D>& queue, MatrixView<const float, D> dw) override;

  /// Codes and scales as of the last rebuild().
  const QuantizedRows& quantized() const { return now_; }

 private:
  /// Parameters of a row, or their gradients.
  template <class T>
  struct Row {
    T* numbers;  // (n)
    T* scales;   // (blocks)
    T* minima;   // (blocks), none without minima
  };

  index_t blocks() const { return std::ssize(blocks_); }
  template <class T>
  Row<T> row(T* parameters, index_t i) const;
  void rebuild_row(index_t i, const Row<const float>& parameters);
  void differentiate_row(index_t i, const float* dw, const Row<float>& gradients) const;

  index_t rows_, cols_;
  BlockGrid numbers_;
  std::vector<Range> blocks_;    // of a row
  std::vector<float> spacings_;  // (count of levels) from one level to the next, around each
  QuantizedRows start_, now_;
  Buffer<float> first_;          // (m, n) p before any step, until it is placed
  float* parameters_ = nullptr;  // of D
  float* gradients_ = nullptr;   // of D
  Buffer<float> weights_;        // (m, n)
  Buffer<float, D> there_;       // (m, n) the same, where D is not the host
};

}  // namespace hack::svd
