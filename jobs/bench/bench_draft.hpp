#pragma once

#include <string>

#include "jobs/bench/bench_inference.hpp"
#include "jobs/compression/draft_options.hpp"

namespace hack::jobs {

/// Decodes behind a prompt (16 made-up tokens where it is empty) with a draft, in turn with the model alone. The
/// limit is what the measured acceptance and times allow. An Error where the two texts differ, as they must not on
/// CPUs. Prints on rank 0 and returns the report's results.
template <Device D>
nlohmann::json bench_draft(Session& session, const BenchModel& model, const InferenceBench& bench,
                           const DraftOptions& options, const std::string& prompt);

}  // namespace hack::jobs
