#include "svd/choose/codec_choice.hpp"

#include <algorithm>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

using Option = MatrixCodecs::Option;

/// From one option of a matrix to a larger one.
struct Step {
  std::size_t matrix;
  Option from, to;
  double gain;  // loss saved a byte
};

/// The options on the lower convex hull of (bytes, error), from the smallest on; the last has the least error.
std::vector<Option> hull_of(std::vector<Option> options) {
  std::sort(options.begin(), options.end(), [](const Option& a, const Option& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.error < b.error;
  });
  const auto slope = [](const Option& a, const Option& b) {
    return (a.error - b.error) / static_cast<double>(b.bytes - a.bytes);
  };
  std::vector<Option> hull;
  for (const Option& option : options) {
    if (!hull.empty() && (option.bytes == hull.back().bytes || option.error >= hull.back().error)) continue;
    while (hull.size() >= 2 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), option)) hull.pop_back();
    hull.push_back(option);
  }
  return hull;
}

}  // namespace

index_t least_bytes(std::span<const MatrixCodecs> matrices) {
  index_t bytes = 0;
  for (const MatrixCodecs& matrix : matrices) {
    HACK_EXPECT(!matrix.options.empty());
    bytes += std::min_element(matrix.options.begin(), matrix.options.end(), [](const Option& a, const Option& b) {
               return a.bytes < b.bytes;
             })->bytes;
  }
  return bytes;
}

CodecChoice choose_codecs(index_t budget, std::span<const MatrixCodecs> matrices) {
  CodecChoice result{.bytes = least_bytes(matrices)};
  validate(result.bytes <= budget, "the smallest of these codecs take {} bytes, of {} that the budget allows",
           result.bytes, budget);
  std::vector<Option> chosen;
  std::vector<Step> steps;
  for (const MatrixCodecs& matrix : matrices) {
    const std::vector<Option> hull = hull_of(matrix.options);
    for (std::size_t i = 0; i + 1 < hull.size(); ++i) {
      const double saved = matrix.weight * (hull[i].error - hull[i + 1].error);
      steps.push_back(
          {chosen.size(), hull[i], hull[i + 1], saved / static_cast<double>(hull[i + 1].bytes - hull[i].bytes)});
    }
    chosen.push_back(hull.front());
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.gain > b.gain; });
  for (const Step& step : steps) {
    const index_t bytes = result.bytes + step.to.bytes - step.from.bytes;
    if (chosen[step.matrix].codec != step.from.codec || bytes > budget) continue;
    chosen[step.matrix] = step.to;
    result.bytes = bytes;
  }
  for (const Option& option : chosen) result.codecs.push_back(option.codec);
  return result;
}

}  // namespace hack::svd
