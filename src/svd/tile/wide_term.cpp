#include "svd/tile/wide_term.hpp"

#include <algorithm>

namespace hack::svd {
namespace {

std::vector<double> widened(const EncodedArray& array) {
  std::vector<float> numbers(static_cast<std::size_t>(array.rows * array.cols));
  if (!numbers.empty()) array.widen_to(numbers.data());
  return {numbers.begin(), numbers.end()};
}

/// L of an interpolative term: a row of the skeleton is the unit vector of its place there.
std::vector<double> interpolation(const StoredTerm& term) {
  const index_t k = term.rank;
  const std::vector<double> coefficients = widened(term.left());  // (h - k, k)
  const std::vector<index_t> skeleton = term.skeleton();
  std::vector<double> left(static_cast<std::size_t>(term.height * k));
  index_t kept = 0, other = 0;
  for (index_t i = 0; i < term.height; ++i) {
    if (kept < std::ssize(skeleton) && skeleton[static_cast<std::size_t>(kept)] == i) {
      left[static_cast<std::size_t>(i * k + kept++)] = 1;
    } else {
      std::copy_n(coefficients.begin() + k * other++, k, left.begin() + i * k);
    }
  }
  return left;
}

}  // namespace

WideTerm::WideTerm(const StoredTerm& term)
    : is_dense_(term.structure == Structure::dense), width_(term.width), k_(is_dense_ ? term.width : term.rank) {
  if (is_dense_) {
    left_ = widened(term.left());
    return;
  }
  if (k_ == 0) return;
  right_ = widened(term.right());
  if (term.structure == Structure::interpolative) {
    left_ = interpolation(term);
    return;
  }
  left_ = widened(term.left());
  const std::vector<float> sigma = term.sigma();
  for (index_t l = 0; l < k_; ++l) {
    for (index_t j = 0; j < width_; ++j) {
      right_[static_cast<std::size_t>(l * width_ + j)] *= double{sigma[static_cast<std::size_t>(l)]};
    }
  }
}

}  // namespace hack::svd
