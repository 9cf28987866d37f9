#pragma once

#include <nlohmann/json.hpp>

#include "model/checkpoint/checkpoint.hpp"

namespace hack::fuzz {

/// Reads every tensor of a checkpoint in both ways, and its fingerprint.
inline void use_all(const model::Checkpoint& checkpoint) {
  nlohmann::json(checkpoint.config()).dump();
  model::inverse_frequencies(checkpoint.config());
  for (const std::string& name : checkpoint.names()) {
    const model::TensorInfo info = checkpoint.info(name);
    std::vector<float> row(static_cast<std::size_t>(info.cols));
    checkpoint.read(name, info.rows - 1, 0, {row.data(), 1, info.cols});
    const std::optional<Codec> codec = checkpoint.codec(name);
    if (!codec || info.rows == 1) continue;
    std::vector<std::byte> codes(static_cast<std::size_t>(info.rows * code_bytes(*codec, info.cols)));
    std::vector<std::byte> scales(static_cast<std::size_t>(info.rows * scale_bytes(*codec, info.cols)));
    checkpoint.read_encoded(name, {0, info.rows}, {0, info.cols}, codes.data(), scales.data());
  }
  checkpoint.fingerprint();
}

}  // namespace hack::fuzz
