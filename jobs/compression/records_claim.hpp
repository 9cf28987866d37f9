#pragma once

#include <optional>
#include <string>

#include "comm/output_claim.hpp"
#include "io/last_words.hpp"
#include "jobs/compression/window_scoring.hpp"

namespace hack::jobs {

/// A run's right to append to --records, while this object lives, and what it says where a signal ends it.
class RecordsClaim {
 public:
  /// Claims nothing without --records. `unit` names what is recorded. An Error where another run appends to the first
  /// file. Collective.
  RecordsClaim(const Session& session, const ScoringOptions& options, const std::string& unit);

 private:
  std::optional<comm::OutputClaim> claim_;
  std::optional<io::LastWords> last_words_;
};

}  // namespace hack::jobs
