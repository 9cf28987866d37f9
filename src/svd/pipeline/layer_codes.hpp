#pragma once

#include "comm/communicator.hpp"
#include "kernels/buffer.hpp"
#include "kernels/queue.hpp"
#include "svd/pipeline/layer_factors.hpp"
#include "svd/quantize/row_quantizer.hpp"

namespace hack::svd {

/// A matrix whose tiles are dense terms in a codec with blocks.
struct LayerCodes {
  QuantizedRows own;      ///< of this rank's rows of tiles, as even_part() has them
  Buffer<float> rebuilt;  // (m, n) what all codes stand for
};

/// Quantizes a matrix, each rank some rows of tiles (see factorize_together); every rank then knows what all codes
/// stand for. Sets `matrix.choices`: dense tiles of full rank, with the energy tr(W_ij H_jj W_ijᵀ) of each, and what of
/// it is lost, at most all. H as the quantizer's. Collective. Errors as RowQuantizer's, on the rank that met them.
LayerCodes quantize_together(const comm::Communicator& comm, Queue<Device::cpu>& queue, const RowQuantizer& quantizer,
                             MatrixView<const double> h, TiledMatrix& matrix);

/// All rows of the matrix, of which each rank has its own. Collective.
QuantizedRows gather_rows(const comm::Communicator& comm, const QuantizedRows& own);

/// This rank's rows of all, as quantize_together() returns them.
QuantizedRows own_part(const comm::Communicator& comm, const TiledMatrix& matrix, const QuantizedRows& all);

}  // namespace hack::svd
