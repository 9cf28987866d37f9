#pragma once

#include <string>

#include "comm/communicator.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace hack::model {

/// 32 hex digits that tell models apart, independent of the file format: the same weights give the same digits as GGUF
/// and as f32 safetensors. A hash of everything that losses depend on: the config's sizes, flags, epsilon and theta,
/// the frequencies of the rotary embedding, and every tensor's name, shape and numbers, all of them, as f32. End tokens
/// and the tokenizer are left out. An Error names a tensor that cannot be read or holds NaN or infinity.
///
/// Frequencies count to 12 bits: what config.json states as a rule a GGUF file has as numbers, computed in another
/// order.
std::string fingerprint_of(const Checkpoint& checkpoint);

/// The same digits. Each rank reads its share of the weights, with so many threads. Collective.
std::string fingerprint_of(const Checkpoint& checkpoint, const comm::Communicator& comm, int threads);

}  // namespace hack::model
