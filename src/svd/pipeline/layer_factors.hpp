#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "svd/fit/weighted_factorizer.hpp"

namespace hack::svd {

/// A matrix that every rank holds whole while its layer is compressed.
struct TiledMatrix {
  std::string name;
  TileGrid grid;
  Buffer<float> values;              // (m, n) what is factorized; dense tiles without factors keep it
  std::vector<TileChoice> choices;   // (I * J)
  std::vector<TruncatedTile> tiles;  // (I * J) empty where values are kept

  MatrixView<const float> values_view() const { return {values.data(), grid.rows(), grid.cols()}; }
};

/// The rows of tiles that are this rank's, and their values.
TileRows own_rows(const comm::Communicator& comm, const TiledMatrix& matrix);

/// Sets `matrix.tiles` on every rank: each factorizes some rows of tiles,
///
///     tile rows   0 1 2 | 3 4
///     rank        0 0 0 | 1 1     then all ranks have all tiles.
///
/// Collective. Errors as WeightedFactorizer's, on the rank that met them.
template <Device D>
void factorize_together(const comm::Communicator& comm, Queue<D>& queue, const WeightedFactorizer<D>& factorizer,
                        TiledMatrix& matrix);

/// Returns the whitened spectra of all tiles, tile after tile, on every rank; shared out likewise. Collective.
template <Device D>
std::vector<float> spectra_together(const comm::Communicator& comm, Queue<D>& queue,
                                    const WeightedFactorizer<D>& factorizer, const TiledMatrix& matrix);

/// Multiplies the factors out: what a model with this archive computes with, before rounding to the factor type.
Buffer<float> rebuild(Queue<Device::cpu>& queue, const TiledMatrix& matrix);  // (m, n)

}  // namespace hack::svd
