#include "jobs/compression/records_claim.hpp"

#include <fmt/core.h>

#include "jobs/session/output_claim.hpp"

namespace hack::jobs {

RecordsClaim::RecordsClaim(const Session& session, const ScoringOptions& options, const std::string& unit) {
  if (options.records.empty()) return;
  const std::string& records = options.records.front();
  claim_.emplace(claim_output(session, "--records", records));
  if (!session.world().is_root()) return;
  last_words_.emplace(
      fmt::format("ended by a signal; finished {} stand in {}, the same command goes on after them", unit, records));
}

}  // namespace hack::jobs
