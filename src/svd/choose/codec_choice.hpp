#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/codec.hpp"

namespace hack::svd {

/// A matrix that may be held in any of some codecs.
struct MatrixCodecs {
  struct Option {
    Codec codec;
    index_t bytes;  ///< stored
    double error;   ///< tr(E H Eᵀ) of what the codec leaves
  };
  std::string name;
  double weight = 1;            ///< the cost of a unit of error; 0 or more
  std::vector<Option> options;  ///< at least one
};

/// What choose_codecs() chose.
struct CodecChoice {
  std::vector<Codec> codecs;  ///< of each matrix
  index_t bytes = 0;
};

/// Returns what the smallest codec of each matrix takes together.
index_t least_bytes(std::span<const MatrixCodecs> matrices);

/// Chooses a codec for each matrix so that Σ weight · error is small while Σ bytes <= budget, by convex hulls as
/// allocate(): from the smallest codecs on, the step of a hull that saves most loss a byte goes first, and steps that
/// do not fit are left out. The sum is above the least possible by less than one step. An Error where least_bytes()
/// do not fit.
CodecChoice choose_codecs(index_t budget, std::span<const MatrixCodecs> matrices);

}  // namespace hack::svd
