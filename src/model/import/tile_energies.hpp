#pragma once

#include "kernels/queue.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "svd/archive/matrix_part.hpp"

namespace hack::model {

/// Sets the energies of all tiles of a matrix, Σ w², and what of them is left out, Σ (w - w')², at most all: w are the
/// numbers of the model's matrix of that name, w' what the tile's one term stands for.
void set_energies(Queue<Device::cpu>& queue, const Checkpoint& model, svd::MatrixPart& part);

}  // namespace hack::model
