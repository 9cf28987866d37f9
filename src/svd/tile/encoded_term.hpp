#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "svd/tile/term.hpp"

namespace hack::svd {

/// A term while it is encoded: codes and scales of each of its arrays in memory of their own, so that both are aligned.
class EncodedTerm {
 public:
  EncodedTerm() = default;
  explicit EncodedTerm(const TermArrays& arrays);

  std::byte* codes(std::size_t a) { return codes_[a].data(); }
  std::byte* scales(std::size_t a) { return scales_[a].data(); }

  /// Adds the arrays one after the other, each with its codes before its scales: a term as it is stored.
  void append_to(std::vector<std::byte>& bytes) const;

 private:
  std::array<Buffer<std::byte>, 3> codes_;
  std::array<Buffer<std::byte>, 3> scales_;
};

}  // namespace hack::svd
