#pragma once

#include "kernels/dtype.hpp"

namespace hack::model {

// The rotary embedding turns the members i and i + head / 2 of a head as a pair. Hugging Face has all first members
// before all second ones, Llama's GGUF files have each pair side by side. In both functions head 0 means one order.

/// Where row r of Hugging Face's order stands in a GGUF file.
constexpr index_t gguf_row(index_t r, index_t head) {
  if (head == 0) return r;
  const index_t within = r % head;
  return r - within + within % (head / 2) * 2 + within / (head / 2);
}

/// The row of Hugging Face's order that stands in a GGUF file's row r.
constexpr index_t hf_row(index_t r, index_t head) {
  if (head == 0) return r;
  const index_t within = r % head;
  return r - within + within % 2 * (head / 2) + within / 2;
}

}  // namespace hack::model
