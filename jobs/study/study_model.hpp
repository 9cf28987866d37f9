#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "jobs/study/cost_model.hpp"
#include "jobs/study/study_phases.hpp"

namespace hack::jobs {

/// Predictions from the rows of a study for other rank counts and machines.
struct StudyModel {
  Machine machine;  ///< one rank of the machine, as measured
  std::vector<nlohmann::json>
      held_out;  ///< the largest rank count of each phase, from the smaller ones, and from its slices
  std::vector<nlohmann::json> slices;  ///< jobs of which slices were measured: their compute, the model's all-reduces
  std::vector<nlohmann::json> larger;  ///< the same phases on more ranks, up to 1,024
  std::vector<nlohmann::json> published;  ///< Llama-3.1 8B, 70B and 405B on 1 to 1,024 such ranks
};

/// Fits the measured rows. Rows of the model have kind "model"; held-out rows have `measured_seconds` and `error`
/// beside `seconds`. Of slices the field `measured` names what is not the model's. `links`: all-reduces in place of the
/// measured ones.
StudyModel model_of(const std::vector<nlohmann::json>& rows, const model::LlamaConfig& config, double bytes_per_weight,
                    const StudyWork& work, double memory_per_rank, const std::optional<Machine>& links = std::nullopt);

}  // namespace hack::jobs
