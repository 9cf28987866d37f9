#pragma once

#include "kernels/cuda/codec/codecs.cuh"

namespace hack::kernels::cuda {

/// A row of weights in a product; without codes a unit vector, or zeros.
template <class W>
struct ProductRow {
  using Operand = typename CodecOf<W>::Operand;
  RowCodes<W> row{};
  int unit = -1;  // where the unit vector has its one

  template <class Exec>
  HACK_BODY Operand number(Exec& exec, int l) const {
    if (row.codes != nullptr) return CodecOf<W>::operand(exec, row.codes[l]);
    return l == unit ? one() : Operand{};
  }

  /// Of a codec with blocks, number q of the run from l on is to[q].
  template <class Exec>
  HACK_BODY void run(Exec& exec, int l, float (&to)[run_length]) const {
    if (row.codes == nullptr) {
      HACK_UNROLL
      for (int q = 0; q < run_length; ++q) to[q] = l + q == unit ? 1.0f : 0.0f;
      return;
    }
    const auto loaded = load_run<W>(exec, row, l);
    HACK_UNROLL
    for (int q = 0; q < run_length; ++q) to[q] = CodecOf<W>::number(exec, loaded, q);
  }

 private:
  HACK_BODY static Operand one() {
    if constexpr (std::is_same_v<Operand, float>) {
      return 1;
    } else {
      return Operand{static_cast<std::uint16_t>(std::is_same_v<Operand, bf16> ? 0x3f80 : 0x3c00)};
    }
  }
};

/// The weights of a product, whose row i is row_of(i), a ProductRow.
template <class Exec, class RowOf>
struct ProductWeights {
  HACK_BODY ProductWeights(Exec& exec_, const RowOf& row_of_) : exec(exec_), row_of(row_of_) {}

  HACK_BODY auto operator()(int i, int l) const { return row_of(i).number(exec, l); }
  HACK_BODY void operator()(int i, int l, float (&to)[run_length]) const { row_of(i).run(exec, l, to); }

  Exec& exec;
  const RowOf& row_of;
};

}  // namespace hack::kernels::cuda
