#pragma once

#include <cstdint>
#include <span>

#include "kernels/dtype.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::svd {

/// Rows of numbers as 8-bit integers, in the caller's memory: row r stands for scales[r] times its integers, which are
/// -127 … 127. The scale is a bf16: its range is that of f32, and integers are rounded to the scale as stored, so that
/// its few digits cost nothing.
struct Int8Rows {
  std::int8_t* numbers = nullptr;  // (rows, cols)
  bf16* scales = nullptr;          // (rows)
};

/// Rounds x (rows, cols) into `to`, made for it. Of the scales max|x| / 127 · (1, 0.95, 0.9, 0.85, 0.8) a row takes the
/// one that leaves least of
///
///     Σ_c weights_c (x_c - s q_c)²
///
/// and the larger of two that leave the same; a row of zeros takes 0, one without numbers none. Numbers are at most
/// 2^127. Does not throw.
void round_rows(MatrixView<const float> x, std::span<const double> weights, const Int8Rows& to);

enum class Along : std::uint8_t { rows, columns };

/// Rounds x (rows, cols) once more to the scales that `to` has, where an error e of each of its rows, or columns, costs
/// ‖e L‖², L lower triangular with a positive diagonal: from the last number to the first, each makes up for the errors
/// of those rounded before it as far as it can (the nearest plane of Babai 1986; GPTQ). `carried` is working memory of
/// the size of L. Does not throw.
void round_together(MatrixView<const float> x, Along along, MatrixView<const double> l, std::span<double> carried,
                    const Int8Rows& to);

/// Writes what rows of integers stand for; exact.
void widen_rows(const std::int8_t* numbers, const bf16* scales, MatrixView<float> out);

}  // namespace hack::svd
