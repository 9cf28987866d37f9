#pragma once

#include <string>
#include <vector>

#include "jobs/bench/bench_model.hpp"
#include "jobs/session/session.hpp"

namespace hack::jobs {

/// Times y = x Wᵀ for one matrix of a model's shape, with random numbers: dense, also in each codec
/// with blocks, in two factors and interpolative, over rank × tokens × type; and says up to which rank factors are
/// faster than the dense product.
class ApplyBench {
 public:
  void add_options(CLI::App& app);
  /// Factors whose codec has scales are held in it, others in the types.
  nlohmann::json run(const Session& session, const model::LlamaConfig& config, Codec codec, int repeats) const;

 private:
  std::string matrix_ = "gate";
  std::vector<long> ranks_ = {8, 16, 32, 48, 64, 96};
  std::vector<long> tokens_ = {1, 512};
  std::vector<std::string> types_ = {"f32", "bf16"};
};

}  // namespace hack::jobs
