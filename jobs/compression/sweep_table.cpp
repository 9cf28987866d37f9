#include "jobs/compression/sweep_table.hpp"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/byte_stream.hpp"
#include "io/replace_file.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

/// A file's name as it may stand in a table.
std::string column_name(const std::string& path) {
  std::string name = std::filesystem::path(path).filename().string();
  for (char& c : name) {
    if (c == ',' || c == '"' || c == '|' || c == '\n') c = '_';
  }
  return name;
}

std::vector<std::string> column_names(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) names.push_back(column_name(path));
  return names;
}

std::string record_of(const SweepRow& row) {
  io::ByteWriter record;
  record.put(row.method);
  record.put(row.id);
  for (const double number : {row.value, row.bytes_stored, row.bytes_dense, row.seconds}) record.put(number);
  for (const TextScore& score : row.scores) {
    record.put(score.after);
    record.put(score.divergence);
    record.put(score.same_top);
  }
  return record.bytes();
}

std::string line_of(const SweepRow& row) {
  std::string line = fmt::format("{},{},{},{:.0f},{:.0f},{:.6f},{:.3f}", row.method, row.value, row.id,
                                 row.bytes_stored, row.bytes_dense, row.bytes_stored / row.bytes_dense, row.seconds);
  for (const TextScore& score : row.scores) {
    line += fmt::format(",{:.8g},{:.8g},{:.6f}", score.after, score.divergence, score.same_top);
  }
  return line + "\n";
}

}  // namespace

SweepTable::SweepTable(const comm::Communicator& world, std::filesystem::path path, std::string rule,
                       const std::vector<std::string>& texts)
    : world_(world),
      path_(std::move(path)),
      rule_(std::move(rule)),
      texts_(column_names(texts)),
      records_(path_.string() + ".records", "sweep",
               {{"rule", rule_}, {"texts", texts_}, {"scores", "perplexity, divergence, same top"}}) {
  std::string all;
  if (world_.is_root()) {
    io::ByteWriter rows;
    for (const std::string& row : recorded_rows()) rows.put(row);
    all = rows.bytes();
  }
  comm::broadcast(world_, all);
  try {
    for (io::ByteReader rows(all); !rows.at_end();) rows_.push_back(parse(rows.get_text()));
  } catch (const Error& error) {
    fail("--output {}: {}: {}; remove both, its rows are then made again", path_.string(), records_.path().string(),
         error.what());
  }
}

/// Records that were changed are not taken: their rows are made again.
std::vector<std::string> SweepTable::recorded_rows() const {
  using Owner = io::RecordFile::Owner;
  validate(records_.owner() != Owner::other_work, "--output {}: is another table ({}); name another file, or remove {}",
           path_.string(), records_.difference(), records_.path().string());
  validate(records_.owner() != Owner::other_program, "--output {}: {} holds no records of a table; remove both",
           path_.string(), records_.path().string());
  std::error_code missing;
  const bool has_table = std::filesystem::file_size(path_, missing) > 0 && !missing;
  validate(records_.owner() == Owner::this_work || !has_table,
           "--output {}: is there already, without its {} (older versions wrote none), and rows cannot be taken from "
           "the table alone; name another file, or move this one away",
           path_.string(), records_.path().string());
  std::vector<std::string> rows;
  for (index_t i = 0; i < records_.size(); ++i) {
    if (auto row = records_.read(i)) rows.push_back(*std::move(row));
  }
  return rows;
}

SweepRow SweepTable::parse(const std::string& record) const {
  io::ByteReader reader(record);
  SweepRow row;
  row.method = reader.get_text();
  row.id = reader.get_text();
  for (double* number : {&row.value, &row.bytes_stored, &row.bytes_dense, &row.seconds}) *number = reader.get<double>();
  for (const std::string& text : texts_) {
    const auto after = reader.get<double>();
    const auto divergence = reader.get<double>();
    row.scores.push_back({text, 0, after, divergence, reader.get<double>()});
    const TextScore& score = row.scores.back();
    // A ruined model's perplexity may be infinite.
    validate(score.after >= 0 && !std::isnan(score.divergence) && score.same_top >= 0 && score.same_top <= 1,
             "the scores of row {} are {}, {} and {}", row.id, score.after, score.divergence, score.same_top);
  }
  validate(reader.at_end(), "row {} is of another table", row.id);
  for (const double number : {row.value, row.bytes_stored, row.bytes_dense, row.seconds}) {
    validate(std::isfinite(number) && number >= 0, "a number of row {} is {}", row.id, number);
  }
  return row;
}

std::string SweepTable::csv() const {
  std::string table = fmt::format("method,{},id,bytes_stored,bytes_dense,ratio,seconds", rule_);
  for (const std::string& text : texts_) table += fmt::format(",perplexity {0},divergence {0},same top {0}", text);
  table += "\n";
  for (const SweepRow& row : rows_) table += line_of(row);
  return table;
}

const SweepRow* SweepTable::find(const std::string& id) const {
  const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const SweepRow& r) { return r.id == id; });
  return row == rows_.end() ? nullptr : &*row;
}

void SweepTable::append(SweepRow row) {
  rows_.push_back(std::move(row));
  if (!world_.is_root()) return;
  records_.append(rows_.back().id, record_of(rows_.back()));
  io::replace_file(path_, csv());
}

std::string SweepTable::markdown(const std::vector<std::string>& ids) const {
  std::string head = fmt::format("| method | {} | stored | ratio |", rule_);
  std::string rule = "| --- | ---: | ---: | ---: |";
  for (const std::string& text : texts_) {
    head += fmt::format(" perplexity {0} | KL {0} | same top {0} |", text);
    rule += " ---: | ---: | ---: |";
  }
  std::string table = head + " seconds |\n" + rule + " ---: |\n";
  for (const std::string& id : ids) {
    const SweepRow* row = find(id);
    if (row == nullptr) continue;
    table += fmt::format("| {} | {} | {} | {:.4f} |", row->method, row->value, format_bytes(row->bytes_stored),
                         row->bytes_stored / row->bytes_dense);
    for (const TextScore& score : row->scores) {
      table += fmt::format(" {:.3f} | {:.4f} | {:.2f} % |", score.after, score.divergence, 100 * score.same_top);
    }
    table += fmt::format(" {:.1f} |\n", row->seconds);
  }
  return table;
}

}  // namespace hack::jobs
