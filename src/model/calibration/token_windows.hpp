#pragma once

#include <span>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::model {

/// Consecutive windows of `context` tokens, cut from the texts that calibration runs on.
struct TokenWindows {
  std::vector<int> ids;  // (count * context)
  index_t context = 0;

  index_t count() const { return context == 0 ? 0 : std::ssize(ids) / context; }
  std::span<const int> window(index_t w) const {
    return std::span<const int>(ids).subspan(static_cast<std::size_t>(w * context), static_cast<std::size_t>(context));
  }
};

/// Cuts at most `windows` windows from `ids`, the first at number `first` of all that fit.
inline TokenWindows cut_windows(std::span<const int> ids, index_t context, index_t first, index_t windows) {
  const index_t all = std::ssize(ids) / context;
  const index_t begin = first < all ? first : all;
  const index_t count = windows < all - begin ? windows : all - begin;
  const auto* from = ids.data() + begin * context;
  return {{from, from + count * context}, context};
}

}  // namespace hack::model
