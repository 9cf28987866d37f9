#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/evaluate/divergence_summary.hpp"

namespace hack::jobs {

/// As fields of a report; names of standard errors end in _stderr, Δp is "probability_difference".
nlohmann::json describe(const model::DivergenceSummary& divergence);

/// Prints the figures under the names that `llama-perplexity --kl-divergence` gives them, a line each.
void print(const model::DivergenceSummary& divergence);

}  // namespace hack::jobs
