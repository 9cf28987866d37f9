#include "jobs/compression/apply_times.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/json_text.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/storage_words.hpp"
#include "kernels/error.hpp"
#include "svd/archive/archive_info.hpp"

namespace hack::jobs {
namespace {

/// Whether what the row has of these names is of the kind that is read.
bool is_row(const nlohmann::json& row) {
  const auto is = [&](const char* name, bool (*kind)(const nlohmann::json&)) {
    return !row.contains(name) || kind(row[name]);
  };
  const auto is_text = [](const nlohmann::json& value) { return value.is_string(); };
  const auto is_count = [](const nlohmann::json& value) {
    return value.is_number_integer() && value >= 0 && value <= std::numeric_limits<std::int32_t>::max();
  };
  const auto is_number = [](const nlohmann::json& value) { return value.is_number() && value >= 0; };
  return row.is_object() && is("type", is_text) && is("codec", is_text) && is("kind", is_text) &&
         is("tokens", is_count) && is("seconds", is_number) && is("faster_up_to_rank", is_number);
}

}  // namespace

ApplyTimes::ApplyTimes(const std::string& report) : report_(report) {
  const nlohmann::json whole = io::parse_json(read_text("--times", report), "--times " + report);
  const auto results = whole.is_object() ? whole.find("results") : whole.end();
  const auto has_rows = [&](const char* name, bool needed) {
    const auto rows = results->find(name);
    if (rows == results->end()) return !needed;
    return rows->is_array() && std::all_of(rows->begin(), rows->end(), is_row);
  };
  const bool is_report = whole.is_object() && results != whole.end() && results->is_object() &&
                         has_rows("break_even", true) && has_rows("rows", false);
  validate(is_report, "--times {}: no report of hack bench apply; make one with `hack bench apply MODEL --report {}`",
           report, report);
  results_ = *results;
}

double ApplyTimes::fast_share(svd::Structure storage, Codec codec, long tokens) const {
  constexpr double timed_rank = 128;  // full rank of the tiles that were timed
  const std::string_view type = to_string(plain_type(codec));
  const std::string_view held = has_scales(codec) ? to_string(codec) : type;
  std::vector<std::string> known;
  for (const nlohmann::json& row : results_.at("break_even")) {
    // Up to version 0.1 all factors were of the type of the dense weights.
    const std::string row_type = row.value("type", "?"), row_codec = row.value("codec", row_type);
    known.push_back(fmt::format("{} {} of {} tokens", row_codec, row.value("kind", "?"), row.value("tokens", 0L)));
    if (current_storage_word(row.value("kind", "")) != svd::storage_name(storage)) continue;
    if (row_type != type || row_codec != held) continue;
    if (row.value("tokens", 0L) != tokens) continue;
    validate(row.contains("faster_up_to_rank"),
             "--times {}: {} is not faster than dense at any rank; compress with --objective bytes", report_,
             known.back());
    return row["faster_up_to_rank"].get<double>() / timed_rank;
  }
  fail("--times {}: has no times of {} {} of {} tokens (it has: {}); time them with --types {} --codec {} --batches {}",
       report_, held, svd::storage_name(storage), tokens, fmt::join(known, ", "), type, held, tokens);
}

std::vector<Codec> ApplyTimes::fast_codecs(std::span<const Codec> codecs, long tokens) const {
  constexpr double never = std::numeric_limits<double>::infinity();
  const auto seconds_in = [&](Codec codec) {
    double least = never;
    for (const nlohmann::json& row : results_.value("rows", nlohmann::json::array())) {
      const bool is_meant = row.value("kind", "") == "dense" && row.value("tokens", 0L) == tokens;
      if (is_meant && row.value("codec", "") == to_string(codec)) least = std::min(least, row.value("seconds", never));
    }
    return least;
  };
  const double plain = std::min({seconds_in(Codec::f32), seconds_in(Codec::bf16), seconds_in(Codec::f16)});
  std::vector<Codec> fast;
  for (const Codec codec : codecs) {
    const double seconds = seconds_in(codec);
    validate(plain < never && seconds < never,
             "--times {}: has no times of {} tokens with a dense matrix in {} and in a type without scales; time them "
             "with hack bench apply --batches {}",
             report_, tokens, to_string(codec), tokens);
    if (seconds <= plain) fast.push_back(codec);
  }
  return fast;
}

}  // namespace hack::jobs
