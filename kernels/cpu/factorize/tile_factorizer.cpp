#include "kernels/cpu/factorize/tile_factorizer.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace hack::kernels {
namespace {

/// max|a|; infinite or NaN where a number is.
float largest_magnitude(MatrixView<const float> a) {
  std::int32_t largest = 0;  // without signs, floats are ordered as their bits are
  for (index_t i = 0; i < a.rows; ++i) {
    const float* row = a.row(i);
    for (index_t j = 0; j < a.cols; ++j) largest = std::max(largest, std::bit_cast<std::int32_t>(row[j]) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

void set_unit_vectors(MatrixView<float> x) {
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) x(i, j) = i == j ? 1.0f : 0.0f;
  }
}

/// Copies the leading columns or rows of a matrix with rows of `ld` numbers.
void copy_leading(const float* from, index_t ld, MatrixView<float> to) {
  if (to.cols == 0) return;
  for (index_t i = 0; i < to.rows; ++i) {
    std::memcpy(to.row(i), from + i * ld, static_cast<std::size_t>(to.cols) * sizeof(float));
  }
}

}  // namespace

TileFactorizer::TileFactorizer(std::span<const Shape> shapes) {
  index_t n = 0, depth = 0;
  for (const Shape& shape : shapes) {
    library_.reserve(shape.h, shape.w, shape.lengths);
    const index_t r = std::min(shape.h, shape.w);
    if (!GramSvd::fits(shape.h, shape.w)) {
      whole_.reserve(shape.h, shape.w);
      if (kept_.size() < WholeSvd::kept_size(r)) kept_ = Buffer<double>(WholeSvd::kept_size(r));
      continue;
    }
    n = std::max(n, r);
    depth = std::max({depth, shape.h, shape.w});
  }
  if (n > 0) gram_ = std::make_unique<GramSvd>(n, depth);
}

/// `kept` is used by WholeSvd alone.
bool TileFactorizer::find_spectrum(MatrixView<const float> tile, const Shape& shape, double* kept) {
  const double scale = std::ldexp(1.0, -exponent_);
  is_reduced_ = GramSvd::fits(tile.rows, tile.cols) ? gram_->reduce(tile, scale) : whole_.reduce(tile, scale, kept);
  return is_reduced_ || library_.factorize(tile, scale, shape.lengths);
}

SvdStatus TileFactorizer::write_spectrum(float* sigma, const double* kept, const Shape& shape) const {
  const double unscale = std::ldexp(1.0, exponent_);
  const index_t r = std::min(shape.h, shape.w);
  for (index_t i = 0; i < r; ++i) {
    const double scaled = !is_reduced_                      ? double{library_.sigma()[i]}
                          : GramSvd::fits(shape.h, shape.w) ? gram_->sigma(i)
                                                            : WholeSvd::sigma(kept, r, i);
    const double value = scaled * unscale;
    if (value > std::numeric_limits<float>::max()) return SvdStatus::not_finite;
    sigma[i] = static_cast<float>(value);
  }
  return SvdStatus::ok;
}

SvdStatus TileFactorizer::find_vectors(MatrixView<const float> tile, const Shape& shape, const double* kept,
                                       const TileSvd<Device::cpu>& out) {
  if (is_reduced_) {
    const double scale = std::ldexp(1.0, -exponent_);
    const bool found = GramSvd::fits(tile.rows, tile.cols) ? gram_->find_vectors(out.u, out.vt)
                                                           : whole_.find_vectors(tile, scale, kept, out.u, out.vt);
    if (found) return SvdStatus::ok;
    if (!library_.factorize(tile, scale, shape.lengths)) return SvdStatus::not_converged;
  }
  copy_leading(library_.u(), std::min(tile.rows, tile.cols), out.u);
  copy_leading(library_.vt(), tile.cols, out.vt);
  return SvdStatus::ok;
}

SvdStatus TileFactorizer::factorize(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out) {
  const float largest = largest_magnitude(tile);
  const index_t r = std::min(tile.rows, tile.cols);
  if (!std::isfinite(largest)) return SvdStatus::not_finite;
  if (largest == 0) {
    std::fill_n(out.sigma, r, 0.0f);
    set_unit_vectors(out.u);
    set_unit_vectors(out.vt);
    return SvdStatus::ok;
  }
  exponent_ = std::ilogb(largest);
  if (!find_spectrum(tile, shape, kept_.data())) return SvdStatus::not_converged;
  const SvdStatus status = write_spectrum(out.sigma, kept_.data(), shape);
  return status == SvdStatus::ok ? find_vectors(tile, shape, kept_.data(), out) : status;
}

SvdStatus TileFactorizer::factorize_by_library(MatrixView<const float> tile, const Shape& shape,
                                               const TileSvd<Device::cpu>& out) {
  const float largest = largest_magnitude(tile);
  if (!std::isfinite(largest)) return SvdStatus::not_finite;
  exponent_ = largest > 0 ? std::ilogb(largest) : 0;
  is_reduced_ = false;
  const double scale = std::ldexp(1.0, -exponent_);
  const bool has_vectors = out.u.cols > 0;
  if (!(has_vectors ? library_.factorize(tile, scale, shape.lengths)
                    : library_.find_spectrum(tile, scale, shape.lengths))) {
    return SvdStatus::not_converged;
  }
  copy_leading(library_.u(), std::min(tile.rows, tile.cols), out.u);
  copy_leading(library_.vt(), tile.cols, out.vt);
  return write_spectrum(out.sigma, nullptr, shape);
}

SvdStatus TileFactorizer::reduce(MatrixView<const float> tile, const Shape& shape, const TileSvd<Device::cpu>& out,
                                 double* kept) {
  const float largest = largest_magnitude(tile);
  const index_t r = std::min(tile.rows, tile.cols);
  if (!std::isfinite(largest)) return SvdStatus::not_finite;
  if (largest == 0) {
    std::fill_n(out.sigma, r, 0.0f);
    return SvdStatus::ok;
  }
  exponent_ = std::ilogb(largest);
  if (!find_spectrum(tile, shape, kept)) return SvdStatus::not_converged;
  if (GramSvd::fits(tile.rows, tile.cols)) {
    if (is_reduced_) gram_->keep(kept);
    if (!is_reduced_) kept[0] = 0;  // no unit: finish() will call LAPACK again
  }
  return write_spectrum(out.sigma, kept, shape);
}

SvdStatus TileFactorizer::finish(MatrixView<const float> tile, const Shape& shape, const double* kept,
                                 const TileSvd<Device::cpu>& out) {
  const float largest = largest_magnitude(tile);
  if (largest == 0) {
    set_unit_vectors(out.u);
    set_unit_vectors(out.vt);
    return SvdStatus::ok;
  }
  exponent_ = std::ilogb(largest);
  const double scale = std::ldexp(1.0, -exponent_);
  const bool fits = GramSvd::fits(tile.rows, tile.cols);
  is_reduced_ = fits ? kept[0] > 0 : WholeSvd::is_reduced(kept, std::min(tile.rows, tile.cols));
  if (!is_reduced_) {
    if (!library_.factorize(tile, scale, shape.lengths)) return SvdStatus::not_converged;
  } else if (fits) {
    gram_->take(tile, scale, kept);
  }
  return find_vectors(tile, shape, kept, out);
}

}  // namespace hack::kernels
