#include "svd/train/factor_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/error.hpp"
#include "svd/tile/encode_rows.hpp"
#include "svd/tile/encoded_term.hpp"

namespace hack::svd {
namespace {

constexpr std::size_t left_array = 0, right_array = 1;

TermArrays arrays_of(const StoredTerm& term) {
  return {term.structure, term.codec, term.height, term.width, term.rank};
}

}  // namespace

FactorParameters::FactorParameters(StoredTerm term) : term_(std::move(term)) {
  HACK_EXPECT(term_.structure != Structure::dense && term_.rank >= 1);
  roots_.assign(static_cast<std::size_t>(term_.rank), 1.0f);
  if (!is_interpolative()) {
    const std::vector<float> sigma = term_.sigma();
    for (std::size_t l = 0; l < sigma.size(); ++l) roots_[l] = sigma[l] > 0 ? std::sqrt(sigma[l]) : 0.0f;
    for (index_t i = 0; i < term_.height; ++i) row_of_left_.push_back(i);
    return;
  }
  const std::vector<index_t> skeleton = term_.skeleton();
  index_t kept = 0, other = 0;
  for (index_t i = 0; i < term_.height; ++i) {
    const bool is_kept = kept < std::ssize(skeleton) && skeleton[static_cast<std::size_t>(kept)] == i;
    row_of_left_.push_back(is_kept ? ~kept++ : other++);
  }
}

void FactorParameters::start(float* parameters) const {
  const index_t k = term_.rank, m = left_rows();
  if (m > 0) term_.left().widen_to(parameters);
  float* right = parameters + m * k;
  term_.right().widen_to(right);
  if (is_interpolative()) return;
  for (index_t l = 0; l < k; ++l) {
    const float root = roots_[static_cast<std::size_t>(l)];
    for (index_t i = 0; i < m; ++i) parameters[i * k + l] *= root;
    for (index_t j = 0; j < term_.width; ++j) right[l * term_.width + j] *= root;
  }
}

std::vector<float> FactorParameters::unscaled(std::size_t array, const float* parameters) const {
  const TermArray of = arrays_of(term_)[array];
  const float* from = array == left_array ? parameters : parameters + left_rows() * term_.rank;
  std::vector<float> numbers(from, from + of.rows * of.cols);
  if (is_interpolative()) return numbers;
  for (index_t i = 0; i < of.rows; ++i) {
    for (index_t j = 0; j < of.cols; ++j) {
      const float root = roots_[static_cast<std::size_t>(array == left_array ? j : i)];
      if (root > 0) numbers[static_cast<std::size_t>(i * of.cols + j)] /= root;
    }
  }
  return numbers;
}

void FactorParameters::encode(std::size_t array, const float* parameters, std::byte* codes, std::byte* scales) const {
  const TermArray of = arrays_of(term_)[array];
  const std::vector<float> numbers = unscaled(array, parameters);
  const std::vector<double> weights(static_cast<std::size_t>(of.cols), 1.0);
  encode_rows(term_.codec, {numbers.data(), of.rows, of.cols}, weights, codes, scales);
}

std::vector<float> FactorParameters::rounded(std::size_t array, const float* parameters) const {
  const TermArray of = arrays_of(term_)[array];
  std::vector<std::byte> codes(static_cast<std::size_t>(of.code_bytes()));
  std::vector<std::byte> scales(static_cast<std::size_t>(of.scale_bytes()));
  std::vector<float> numbers(static_cast<std::size_t>(of.rows * of.cols));
  if (numbers.empty()) return numbers;
  encode(array, parameters, codes.data(), scales.data());
  widen(term_.codec, codes.data(), scales.data(), of.rows, of.cols, numbers.data());
  return numbers;
}

void FactorParameters::round(const float* parameters, MatrixView<float> left, MatrixView<float> right) const {
  const index_t k = term_.rank;
  const std::vector<float> l = rounded(left_array, parameters), r = rounded(right_array, parameters);
  for (index_t i = 0; i < left.rows; ++i) {
    const index_t from = row_of_left_[static_cast<std::size_t>(i)];
    for (index_t c = 0; c < k; ++c) {
      left(i, c) = from < 0 ? static_cast<float>(c == ~from)
                            : l[static_cast<std::size_t>(from * k + c)] * roots_[static_cast<std::size_t>(c)];
    }
  }
  for (index_t c = 0; c < k; ++c) {
    const float root = roots_[static_cast<std::size_t>(c)];
    for (index_t j = 0; j < right.cols; ++j) right(c, j) = r[static_cast<std::size_t>(c * right.cols + j)] * root;
  }
}

void FactorParameters::add_gradients(Range rows, MatrixView<const float> left, Range cols,
                                     MatrixView<const float> right, float* gradients) const {
  const index_t k = term_.rank;
  for (index_t i = rows.begin; i < rows.end; ++i) {
    const index_t to = row_of_left_[static_cast<std::size_t>(i)];
    if (to < 0) continue;
    const float* from = left.row(i - rows.begin);
    for (index_t c = 0; c < k; ++c) gradients[to * k + c] += from[c];
  }
  float* of_right = gradients + left_rows() * k;
  for (index_t c = 0; c < k; ++c) {
    const float* from = right.row(c);
    float* to = of_right + c * term_.width + cols.begin;
    for (index_t j = 0; j < cols.size(); ++j) to[j] += from[j];
  }
}

StoredTerm FactorParameters::encoded(const float* parameters) const {
  const TermArrays arrays = arrays_of(term_);
  EncodedTerm encoded(arrays);
  for (const std::size_t a : {left_array, right_array}) {
    const std::vector<float> numbers = unscaled(a, parameters);
    validate(fits({numbers.data(), arrays[a].rows, arrays[a].cols}, term_.codec),
             "trained numbers are not finite or too large for {}; train at a lower rate", to_string(term_.codec));
    if (!numbers.empty()) encode(a, parameters, encoded.codes(a), encoded.scales(a));
  }
  StoredTerm out = term_;
  out.bytes.clear();
  encoded.append_to(out.bytes);
  // What follows the two arrays, singular values or marks, stays.
  const auto rest = static_cast<std::size_t>(arrays[left_array].bytes() + arrays[right_array].bytes());
  std::copy(term_.bytes.begin() + static_cast<std::ptrdiff_t>(rest), term_.bytes.end(),
            out.bytes.begin() + static_cast<std::ptrdiff_t>(rest));
  HACK_EXPECT(out.bytes.size() == term_.bytes.size());
  return out;
}

}  // namespace hack::svd
