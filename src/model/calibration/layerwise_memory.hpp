#pragma once

#include "kernels/matrix_view.hpp"
#include "model/calibration/layerwise_fit.hpp"
#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

/// How a compression fitted to a text is run.
struct LayerwiseRun {
  index_t windows = 0;  ///< of all ranks
  index_t context = 0;  ///< tokens of a window
  int ranks = 1;
  int threads = 1;  ///< of each rank
};

/// Bytes that the layerwise fit takes on the rank that takes most, of the host and a GPU together, beside the program
/// itself; whatever ranks tiles get. With T tokens of the rank's windows, inputs n and outputs m of a matrix, p numbers
/// in its factors, P ranks and e bytes a weight, the most is either at the start,
///
///     e · vocabulary · hidden                    embeddings
///     4 T hidden                                 each stream (two, where inputs are those of compressed layers)
///
/// or at one of a layer's matrices:
///
///     streams, and 4 T intermediate              inputs of down on the compressed stream
///     e · weights of a layer                     each stream, on the compressed one 4 for what is compressed
///     4 · context · (…)                          working memory of the layer, each stream
///     8 m n + 4 p                                values, product and factors or codes
///     4 m n                                      values of each matrix after it that has its input
///     4 m n + 4 p, or codes                      product and factors, or codes, of each before it in its half (all,
///                                                where there is a refinement)
///     8 n²                                       H
///     the larger of
///       8 n², and 8 n² or 8 m n                  the target's Cholesky factor, X or Y, gone when tiles are made
///       (8 m n + 8 p) / P                        errors and factors of own rows of tiles, and of the refit, each
///       thread,
///         + 8 (K² + (k + h) (n + K))             K ranks of a row, at most n; or where codes are found
///       8 n² + 8 · 352 n                         the factor of H, and what each thread takes
///     4 p, or 8 m n                              factors, or rows of codes, on their way to all ranks
///
/// or at the head, by the same terms, where no layer is in memory any more, or at the refinement of the three matrices
/// together: 4 numbers for each number of the factors, and the numbers of a step's activations.
double layerwise_memory(const LlamaConfig& config, const LayerwiseOptions& options, const LayerwiseRun& run);

}  // namespace hack::model
