#pragma once
#include "svd/factor_archive_writer.hpp"
namespace hack::svd {
struct TileNumbers {
  MatrixView<const float> values;
  MatrixView<const float> u;
  const float* sigma = nullptr;
  MatrixView<const float> vt;
  std::span<const float> spectrum;
};
inline void append_tile(MatrixPart& part, const Tile& at, const TileChoice& choice, const TileNumbers& x, DType type) {
  part.tiles.push_back(choice);
  const auto put = [&](std::vector<std::byte>& to, const float* from, index_t n) {
    const auto begin = to.size();
    to.resize(begin + static_cast<std::size_t>(n * size_of(type)));
    if (n > 0) convert(from, DType::f32, to.data() + begin, type, n);
  };
  for (index_t k = 0; k < choice.rank && choice.kind == kernels::TileKind::factors; ++k) part.spectra.push_back(x.sigma[k]);
  part.spectra.resize(part.tiles.size() * static_cast<std::size_t>(part.grid.max_rank()), 0.0f);
  if (choice.kind == kernels::TileKind::dense) {
    for (index_t i = 0; i < at.height; ++i) put(part.u, x.values.row(i), at.width);
    return;
  }
  for (index_t i = 0; i < at.height; ++i) put(part.u, x.u.row(i), choice.rank);
  for (index_t k = 0; k < choice.rank; ++k) put(part.v, x.vt.row(k), at.width);
}
}  // namespace hack::svd
