#pragma once

#include "jobs/bench/bench_model.hpp"
#include "jobs/session/session.hpp"

namespace hack::jobs {

/// How a model is run by a bench.
struct InferenceBench {
  model::HeldType type;
  index_t tokens;  ///< decoded, of a prompt, or of a window
  int repeats;     ///< timed, after one that is not counted
};

// Each prints its figure on rank 0 and returns the report's results. Token ids are spread over the vocabulary, as those
// of a text are.

/// One token after another, behind a prompt of 16, each the likeliest: as generation does it, replayed on a GPU. By
/// phases its operations are launched one by one.
template <Device D>
nlohmann::json bench_decode(Session& session, const BenchModel& model, const InferenceBench& bench);

/// One prompt, up to the logits of its last token.
template <Device D>
nlohmann::json bench_prefill(Session& session, const BenchModel& model, const InferenceBench& bench);

/// A window and the losses of all its tokens.
template <Device D>
nlohmann::json bench_perplexity(Session& session, const BenchModel& model, const InferenceBench& bench);

}  // namespace hack::jobs
