#include "svd/tile/encoded_term.hpp"

#include <algorithm>

namespace hack::svd {

EncodedTerm::EncodedTerm(const TermArrays& arrays) {
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    codes_[a] = Buffer<std::byte>(arrays[a].code_bytes());
    scales_[a] = Buffer<std::byte>(arrays[a].scale_bytes());
    // What pads a block is the same in every archive.
    std::fill_n(codes_[a].data(), codes_[a].size(), std::byte{0});
    std::fill_n(scales_[a].data(), scales_[a].size(), std::byte{0});
  }
}

void EncodedTerm::append_to(std::vector<std::byte>& bytes) const {
  for (std::size_t a = 0; a < codes_.size(); ++a) {
    for (const Buffer<std::byte>* part : {&codes_[a], &scales_[a]}) {
      bytes.insert(bytes.end(), part->data(), part->data() + part->size());
    }
  }
}

}  // namespace hack::svd
