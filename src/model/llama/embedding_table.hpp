#pragma once

#include "model/llama/linear_layer.hpp"

namespace hack::model {

/// Reads rows of the embedding table, (rows, hidden): from the archive where that has the table, else from the
/// checkpoint. In an archive the table is dense terms in one codec with blocks, which are laid side by side here,
/// because its rows are looked up whole. An Error where an archive has it in another form.
template <Device D>
WeightMatrix<D> read_embedding(const WeightSource& source, svd::Range rows);

}  // namespace hack::model
