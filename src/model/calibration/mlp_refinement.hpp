#pragma once

#include "comm/communicator.hpp"
#include "model/calibration/compressed_matrix.hpp"
#include "model/calibration/layerwise_pass.hpp"
#include "svd/refine/mlp_refiner.hpp"

namespace hack::model {

/// The matrices of a layer's MLP, all of low rank or all quantized.
struct CompressedMlp {
  CompressedMatrix& gate;
  CompressedMatrix& up;
  CompressedMatrix& down;
};

/// Refines the MLP of the layer that the pass is at, so that its output on the compressed stream takes this stream to
/// where the dense one is behind the layer; the pass has taken the dense stream there. Changes factors or codes, and
/// what the compressed stream meets. Collective. Errors as MlpRefiner's.
template <Device D>
svd::RefineReport refine_mlp(const comm::Communicator& comm, Queue<Device::cpu>& queue, Queue<D>& device,
                             LayerwisePass<D>& pass, const svd::RefineOptions& options, const CompressedMlp& mlp);

}  // namespace hack::model
