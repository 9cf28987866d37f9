#pragma once

#include <algorithm>
#include <vector>

#include "model/checkpoint/checkpoint.hpp"
#include "model/llama/names.hpp"
#include "tests/support/memory_factors.hpp"
#include "tests/support/random_term.hpp"

namespace hack::testing {

/// What the tiles of a matrix are made of; of numbers that are exact in f32, so that nothing but scales is rounded.
inline std::vector<svd::StoredTerm> terms_of(model::Linear linear, const svd::Tile& at) {
  const auto seed = static_cast<unsigned>(1000 * model::index_of(linear) + at.row + 10 * at.col);
  const auto term = [&](svd::Structure structure, Codec codec, index_t k, unsigned more = 0) {
    return random_term({structure, codec, at.height, at.width, std::min({k, at.height, at.width})}, seed + more, 0.3f);
  };
  switch (linear) {
    case model::Linear::gate:
      if (at.i == 1) return {term(svd::Structure::dense, Codec::f32, 0)};  // values that stay
      return {term(svd::Structure::low_rank, Codec::f32, 3)};
    case model::Linear::up:
      if (at.i == 0 && at.j == 0) return {term(svd::Structure::low_rank, Codec::f32, 0)};
      return {term(svd::Structure::interpolative, Codec::f32, 4)};
    case model::Linear::down:
      return {term(svd::Structure::dense, Codec::q4_1, 0)};
    case model::Linear::q:
      return {term(svd::Structure::dense, Codec::q3_64, 0), term(svd::Structure::low_rank, Codec::f32, 2, 500)};
    case model::Linear::k:
      return {term(svd::Structure::interpolative, Codec::f32, 16)};  // every row of its tile is marked, or nearly
    case model::Linear::v:
      return {term(svd::Structure::dense, Codec::iq4_nl, 0)};
    case model::Linear::o:
      break;
  }
  return {term(svd::Structure::dense, Codec::q8_0, 0)};
}

/// What they are made of in the other codecs; factors are at numbers of their codec, which rounding leaves.
inline std::vector<svd::StoredTerm> coded_terms_of(model::Linear linear, const svd::Tile& at) {
  const auto seed = static_cast<unsigned>(7000 + 1000 * model::index_of(linear) + at.row + 10 * at.col);
  const auto term = [&](svd::Structure structure, Codec codec, index_t k, unsigned more = 0) {
    return random_term({structure, codec, at.height, at.width, std::min({k, at.height, at.width})}, seed + more, 0.3f);
  };
  switch (linear) {
    case model::Linear::gate:
      return {term(svd::Structure::low_rank, Codec::bf16, 3)};
    case model::Linear::up:
      return {term(svd::Structure::interpolative, at.i == 0 ? Codec::f16 : Codec::bf16, 4)};
    case model::Linear::down:
      return {term(svd::Structure::dense, at.i == 0 ? Codec::q5_1 : Codec::q4_0, 0)};
    case model::Linear::q:
      return {term(svd::Structure::dense, Codec::q2_64, 0), term(svd::Structure::low_rank, Codec::int8, 2, 500)};
    case model::Linear::k:
      return {term(svd::Structure::interpolative, Codec::int8, 3)};
    case model::Linear::v:
      return {term(svd::Structure::low_rank, Codec::f16, 3)};
    case model::Linear::o:
      break;
  }
  return {term(svd::Structure::dense, Codec::q5_0, 0)};
}

/// Factors of all matrices but one, of every structure and, between the two of them, in every codec.
inline MemoryFactors every_term(const model::Checkpoint& checkpoint, bool in_other_codecs) {
  MemoryFactors factors;
  for (index_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    for (const model::Linear linear : model::all_linears) {
      if (layer == 0 && linear == model::Linear::o) continue;  // stays dense
      const std::string name = model::weight_name(layer, linear);
      const model::TensorInfo info = checkpoint.info(name);
      std::vector<svd::StoredTerm> whole;
      if (linear == model::Linear::gate) {
        whole.push_back(random_term({svd::Structure::low_rank, Codec::f32, info.rows, info.cols, 2}, 77, 0.3f));
      }
      const auto of = [&](const svd::Tile& at) {
        return in_other_codecs ? coded_terms_of(linear, at) : terms_of(linear, at);
      };
      factors.add(name, svd::TileGrid(info.rows, info.cols, 16, 16), of, whole);
    }
  }
  return factors;
}

}  // namespace hack::testing
