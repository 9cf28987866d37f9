#include "model/import/tile_energies.hpp"

#include <algorithm>
#include <vector>

#include "kernels/batched_algebra.hpp"
#include "svd/tile/wide_term.hpp"

namespace hack::model {
namespace {

constexpr index_t rows_of_panel = 256;

/// Rows of what a term stands for: (rows, width).
std::vector<double> rows_of(Queue<Device::cpu>& queue, const svd::WideTerm& term, svd::Range rows, index_t width) {
  std::vector<double> out(static_cast<std::size_t>(rows.size() * width));
  if (term.is_dense()) {
    const MatrixView<const double> values = term.values(rows);
    std::copy_n(values.data, std::ssize(out), out.begin());
  } else if (term.rank() > 0) {
    const kernels::Product<Device::cpu> product = {term.left(rows), term.right(), {out.data(), rows.size(), width}};
    kernels::multiply<Device::cpu>(queue, 1.0, kernels::Transpose::no, kernels::Transpose::no, 0.0, {&product, 1});
  }
  return out;
}

}  // namespace

void set_energies(Queue<Device::cpu>& queue, const Checkpoint& model, svd::MatrixPart& part) {
  const std::vector<svd::StoredTile> tiles = part.stored_tiles();
  std::vector<float> own;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const svd::Tile at = part.grid.tile(static_cast<index_t>(t));
    const svd::WideTerm term(tiles[t].terms.front());
    double energy = 0, lost = 0;
    for (index_t i = 0; i < at.height; i += rows_of_panel) {
      const svd::Range rows = {i, std::min(at.height, i + rows_of_panel)};
      own.resize(static_cast<std::size_t>(rows.size() * at.width));
      model.read(part.name, at.row + i, at.col, {own.data(), rows.size(), at.width});
      const std::vector<double> stored = rows_of(queue, term, rows, at.width);
      for (std::size_t n = 0; n < own.size(); ++n) {
        const double w = own[n], error = w - stored[n];
        energy += w * w;
        lost += error * error;
      }
    }
    part.tiles[t].energy = energy;
    part.tiles[t].discarded = std::min(energy, lost);
  }
}

}  // namespace hack::model
