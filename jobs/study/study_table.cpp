#include "jobs/study/study_table.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "io/json_text.hpp"
#include "io/replace_file.hpp"
#include "io/temporary_file.hpp"
#include "jobs/session/log.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

constexpr const char* columns[] = {"kind",
                                   "phase",
                                   "slice",
                                   "shape",
                                   "ranks",
                                   "nodes",
                                   "threads",
                                   "cores",
                                   "tensor_parallel",
                                   "unit",
                                   "work",
                                   "repeats",
                                   "seconds",
                                   "seconds_min",
                                   "seconds_max",
                                   "rate",
                                   "speedup",
                                   "efficiency",
                                   "base_ranks",
                                   "compute_seconds",
                                   "communication_seconds",
                                   "wait_seconds",
                                   "input_seconds",
                                   "imbalance",
                                   "peak_memory_bytes",
                                   "joules",
                                   "joules_per_token",
                                   "weight_bytes",
                                   "serial_share",
                                   "measured_seconds",
                                   "error",
                                   "perplexity_tokens_per_second",
                                   "prefill_tokens_per_second",
                                   "decode_tokens_per_second",
                                   "factorization_seconds"};

/// Checks a row that was recorded: whatever reads it may take what it needs.
void check_row(const json& row) {
  validate(row.is_object(), "a row is no object");
  const auto needs = [&](const char* name) { validate(row.contains(name), "a row has no {}", name); };
  for (const char* name : {"phase", "ranks", "nodes", "unit", "rate"}) needs(name);
  if (row["phase"] != "read") {
    needs("work");
    needs("seconds");
  }
  if (row.contains("cores")) needs("threads");
  constexpr std::array texts = {"kind", "phase", "unit", "slice", "collectives"};
  constexpr std::array counts = {"ranks", "nodes", "threads", "cores", "repeats", "tensor_parallel", "base_ranks"};
  constexpr std::array sizes = {"rate", "work", "seconds", "peak_memory_bytes"};
  constexpr int most = 1 << 24;
  const auto is_one_of = [](const auto& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [name, value] : row.items()) {
    const bool is_sound = is_one_of(texts, name)    ? value.is_string()
                          : is_one_of(counts, name) ? value.is_number_integer() && value >= 1 && value <= most
                          : is_one_of(sizes, name)  ? value.is_number() && value > 0
                                                    : value.is_boolean() || value.is_number();
    validate(is_sound, "{} of a row is {}", name, value.dump());
  }
}

std::vector<json> rows_of(const std::string& record, const std::string& path) {
  const json rows = io::parse_json(record, path);
  try {
    validate(rows.is_array(), "a record is no list of rows");
    for (const json& row : rows) check_row(row);
    return rows;
  } catch (const Error& error) {
    fail("{}: {}; remove it, its phases are then measured again", path, error.what());
  }
}

std::string cell(const json& row, const char* column) {
  if (!row.contains(column) || row[column].is_null()) return "";
  return row[column].is_string() ? row[column].get<std::string>() : row[column].dump();
}

/// "3.21" with four digits that count; "" of nothing.
std::string number(const json& row, const char* name, double factor = 1) {
  return row.contains(name) && row[name].is_number() ? fmt::format("{:.4g}", factor * row[name].get<double>()) : "";
}

std::string measured_table(const std::vector<json>& rows) {
  std::string text =
      "| phase | ranks | nodes | rate | seconds (min–max) | speed-up | efficiency | compute | communication | wait | "
      "input | imbalance | peak memory |";
  const bool tells_energy =
      std::any_of(rows.begin(), rows.end(), [](const json& row) { return row.contains("joules"); });
  text += tells_energy ? " joules per token |" : "";
  text += "\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";
  text += tells_energy ? "--:|\n" : "\n";
  for (const json& row : rows) {
    if (!row.contains("compute_seconds")) continue;
    text += fmt::format("| {} | {} | {} | {} {}/s | {} ({}–{}) | {} | {} | {} s | {} s | {} s | {} s | {} | {} |",
                        row["phase"].get<std::string>(), row["ranks"].get<int>(), row["nodes"].get<int>(),
                        number(row, "rate"), row["unit"].get<std::string>(), number(row, "seconds"),
                        number(row, "seconds_min"), number(row, "seconds_max"), number(row, "speedup"),
                        number(row, "efficiency"), number(row, "compute_seconds"), number(row, "communication_seconds"),
                        number(row, "wait_seconds"), number(row, "input_seconds"), number(row, "imbalance"),
                        format_bytes(row.value("peak_memory_bytes", 0.0)));
    text += tells_energy ? fmt::format(" {} |\n", number(row, "joules_per_token")) : "\n";
  }
  std::string others;
  for (const json& row : rows) {
    if (row["phase"] == "read") {
      others +=
          fmt::format("| reading memory | {} | | {} GB/s |\n", row["ranks"].get<int>(), number(row, "rate", 1e-9));
    } else if (row["phase"] == "allreduce") {
      others += fmt::format("| all-reduce | {} | {} | {} µs |\n", row["ranks"].get<int>(),
                            format_bytes(row["work"].get<double>()), number(row, "seconds", 1e6));
    }
  }
  if (!others.empty()) text += "\n| measured | ranks | bytes | |\n|---|--:|--:|--:|\n" + others;
  return text;
}

std::string model_table(const json& model) {
  std::string text;
  if (const json& held = model["held_out"]; !held.empty()) {
    text +=
        "\nThe largest rank count of each phase, predicted from the smaller ones, and from slices with their "
        "all-reduces:"
        "\n\n| kind | phase | ranks | compute | predicted | measured | error |\n|---|---|--:|---|--:|--:|--:|\n";
    for (const json& row : held) {
      text += fmt::format("| model | {} | {} | {} | {} s | {} s | {:+.1f} % |\n", row["phase"].get<std::string>(),
                          row["ranks"].get<int>(), row.contains("slices") ? "slices" : "fit", number(row, "seconds"),
                          number(row, "measured_seconds"), 100 * row["error"].get<double>());
    }
  }
  if (const json& slices = model["slices"]; !slices.empty()) {
    text +=
        "\nJobs of which slices were measured, without their all-reduces; these are the model's:\n\n"
        "| kind | phase | ranks | slices | measured compute | model's all-reduces | predicted | measured, s | error, % "
        "|\n"
        "|---|---|--:|---|--:|--:|--:|--:|--:|\n";
    for (const json& row : slices) {
      text += fmt::format("| model | {} | {} | {} | {} s | {} s | {} s | {} | {} |\n", row["phase"].get<std::string>(),
                          row["ranks"].get<int>(), fmt::join(row["slices"].get<std::vector<std::string>>(), " "),
                          number(row, "compute_seconds"), number(row, "communication_seconds"), number(row, "seconds"),
                          number(row, "measured_seconds"), number(row, "error", 100));
    }
  }
  if (const json& larger = model["larger"]; !larger.empty()) {
    text += "\n| kind | phase | ranks | rate | seconds | serial share on one rank |\n|---|---|--:|--:|--:|--:|\n";
    for (const json& row : larger) {
      text += fmt::format("| model | {} | {} | {} {}/s | {} | {} |\n", row["phase"].get<std::string>(),
                          row["ranks"].get<int>(), number(row, "rate"), row["unit"].get<std::string>(),
                          number(row, "seconds"), number(row, "serial_share"));
    }
  }
  if (const json& published = model["published"]; !published.empty()) {
    text +=
        "\n| kind | shape | ranks | tensor × data | perplexity | prefill | decode | factorization |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|\n";
    for (const json& row : published) {
      text += fmt::format("| model | {} | {} | {} × {} | {} tokens/s | {} tokens/s | {} tokens/s | {} s |\n",
                          row["shape"].get<std::string>(), row["ranks"].get<int>(), row["tensor_parallel"].get<int>(),
                          row["data_parallel"].get<int>(), number(row, "perplexity_tokens_per_second"),
                          number(row, "prefill_tokens_per_second"), number(row, "decode_tokens_per_second"),
                          number(row, "factorization_seconds"));
    }
  }
  return text;
}

}  // namespace

StudyTable::StudyTable(const std::filesystem::path& prefix, json key)
    : prefix_(prefix), key_(std::move(key)), records_(file(".records"), "study", key_) {
  using Owner = io::RecordFile::Owner;
  io::place_of(file(".json"));  // where it cannot be written, that is an error now, not after the first hour
  validate(records_.owner() != Owner::other_program, "--output {}: holds no records of a study; name another prefix",
           records_.path().string());
  validate(records_.owner() != Owner::other_work,
           "--output {}: is another study's ({}); name another prefix, or remove it", records_.path().string(),
           records_.difference());
  validate(records_.owner() == Owner::this_work || !std::filesystem::exists(file(".json")),
           "--output {}: is there already, without its {} (older versions wrote none), and phases cannot be taken from "
           "the table alone; name another prefix, or move this one away",
           file(".json").string(), records_.path().string());
  for (index_t i = 0; i < records_.size(); ++i) {
    const std::optional<std::string> record = records_.read(i);
    if (!record) continue;  // it was changed: the phase is measured again
    const std::vector<json> rows = rows_of(*record, records_.path().string());
    rows_.insert(rows_.end(), rows.begin(), rows.end());
  }
}

bool StudyTable::has(const std::string& phase, int ranks, const std::string& slice) const {
  for (const json& row : rows_) {
    if (row["phase"] == phase && row["ranks"] == ranks && row.value("slice", "") == slice) return true;
  }
  return false;
}

void StudyTable::add(const std::vector<json>& rows) {
  rows_.insert(rows_.end(), rows.begin(), rows.end());
  records_.append(rows.front()["phase"].get<std::string>(), json(rows).dump());
  write(json::object());
}

void StudyTable::write(const json& model) const {
  json study = model;
  study["key"] = key_;
  study["rows"] = rows_;
  io::replace_file(file(".json"), study.dump(2) + "\n");
}

void StudyTable::compare() {
  std::map<std::string, const json*> bases;
  for (const json& row : rows_) {
    const json*& base = bases[row["phase"]];
    if (base == nullptr || row["ranks"] < (*base)["ranks"]) base = &row;
  }
  std::map<std::string, std::pair<int, double>> rates;
  for (const auto& [phase, row] : bases) rates[phase] = {(*row)["ranks"], (*row)["rate"]};
  for (json& row : rows_) {
    if (row["phase"] == "allreduce") continue;
    const auto [ranks, rate] = rates[row["phase"]];
    const double speedup = row["rate"].get<double>() / rate;
    row["speedup"] = speedup;
    row["efficiency"] = speedup * ranks / row["ranks"].get<double>();
    row["base_ranks"] = ranks;
  }
}

std::string StudyTable::finish(const json& model, const std::string& title) const {
  write(model);
  std::vector<json> all = rows_;
  for (const char* part : {"held_out", "slices", "larger", "published"}) {
    for (const json& row : model[part]) all.push_back(row);
  }
  std::vector<const char*> shown;
  for (const char* column : columns) {
    if (std::any_of(all.begin(), all.end(), [&](const json& row) { return row.contains(column); }))
      shown.push_back(column);
  }
  std::string csv = fmt::format("{}\n", fmt::join(shown, ","));
  for (const json& row : all) {
    for (const char* column : shown) csv += cell(row, column) + ",";
    csv.back() = '\n';
  }
  io::replace_file(file(".csv"), csv);
  const std::string text = "# " + title + "\n\n" + measured_table(rows_) + model_table(model);
  io::replace_file(file(".md"), text);
  return text;
}

}  // namespace hack::jobs
