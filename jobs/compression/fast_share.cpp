#include "jobs/compression/fast_share.hpp"

#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/compression/storage_words.hpp"
#include "kernels/error.hpp"
#include "svd/archive/archive_info.hpp"

namespace hack::jobs {

double read_fast_share(const std::string& report, svd::Structure storage, Codec codec, long tokens) {
  constexpr double timed_rank = 128;  // full rank of the tiles that were timed
  std::ifstream file(report);
  validate(file.good(), "--times {}: cannot be read", report);
  const nlohmann::json whole = nlohmann::json::parse(file, nullptr, false);
  const auto pointer = nlohmann::json::json_pointer("/results/break_even");
  validate(whole.is_object() && whole.contains(pointer),
           "--times {}: no report of hack bench apply; make one with `hack bench apply MODEL --report {}`", report,
           report);
  const std::string_view type = to_string(plain_type(codec));
  const std::string_view held = has_scales(codec) ? to_string(codec) : type;
  std::vector<std::string> known;
  for (const nlohmann::json& row : whole.at(pointer)) {
    // Up to version 0.1 all factors were of the type of the dense weights.
    const std::string row_type = row.value("type", "?"), row_codec = row.value("codec", row_type);
    known.push_back(fmt::format("{} {} of {} tokens", row_codec, row.value("kind", "?"), row.value("tokens", 0L)));
    if (current_storage_word(row.value("kind", "")) != svd::storage_name(storage)) continue;
    if (row_type != type || row_codec != held) continue;
    if (row.value("tokens", 0L) != tokens) continue;
    validate(row.contains("faster_up_to_rank"),
             "--times {}: {} is not faster than dense at any rank; compress with --objective bytes", report,
             known.back());
    return row["faster_up_to_rank"].get<double>() / timed_rank;
  }
  fail("--times {}: has no times of {} {} of {} tokens (it has: {}); time them with --types {} --codec {} --batches {}",
       report, held, svd::storage_name(storage), tokens, fmt::join(known, ", "), type, held, tokens);
}

}  // namespace hack::jobs
