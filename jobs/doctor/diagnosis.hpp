#pragma once

#include <string>
#include <utility>
#include <vector>

#include "jobs/doctor/group_checks.hpp"
#include "jobs/doctor/rank_facts.hpp"

namespace hack::jobs {

/// Something that is wrong, and what to do.
struct Finding {
  bool ends_runs = false;  ///< commands would fail or be wrong; else they are slow or partly unusable
  std::string what, advice;
  std::vector<int> ranks;  ///< where it was found
};

/// All that is wrong, what ends runs first. What several ranks have in common is one finding.
std::vector<Finding> diagnose(const std::vector<RankFacts>& ranks, const GroupFacts& group);

/// What a rank sees, in lines for people: (subject, text).
std::vector<std::pair<std::string, std::string>> lines_of(const RankFacts& facts);

/// {0, 1, 2, 5} -> "ranks 0-2, 5"; one: "rank 5".
std::string rank_list(const std::vector<int>& ranks);

}  // namespace hack::jobs
