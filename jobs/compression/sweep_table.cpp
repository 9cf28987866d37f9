#include "jobs/compression/sweep_table.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "comm/collectives.hpp"
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

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
  return cells;
}

std::string line_of(const SweepRow& row) {
  std::string line = fmt::format("{},{},{},{:.0f},{:.0f},{:.6f},{:.3f}", row.method, row.value, row.id,
                                 row.bytes_stored, row.bytes_dense, row.bytes_stored / row.bytes_dense, row.seconds);
  for (const TextScore& score : row.scores) line += fmt::format(",{:.8g},{:.8g}", score.after, score.divergence);
  return line + "\n";
}

}  // namespace

SweepTable::SweepTable(const comm::Communicator& world, std::filesystem::path path, std::string rule,
                       const std::vector<std::string>& texts)
    : world_(world), path_(std::move(path)), rule_(std::move(rule)) {
  for (const std::string& text : texts) texts_.push_back(column_name(text));
  std::string content;
  if (world.is_root()) {
    std::ifstream file(path_, std::ios::binary);
    content.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  comm::broadcast(world, content);
  if (content.empty()) return;
  std::istringstream lines(content);
  std::string line;
  std::getline(lines, line);
  validate(line + "\n" == header(),
           "--output {}: is another table (its first line is '{}'); name another file, or remove this one",
           path_.string(), line);
  while (std::getline(lines, line)) {
    if (std::optional<SweepRow> row = parse(line)) rows_.push_back(*std::move(row));
  }
}

std::string SweepTable::header() const {
  std::string line = fmt::format("method,{},id,bytes_stored,bytes_dense,ratio,seconds", rule_);
  for (const std::string& text : texts_) line += fmt::format(",perplexity {},divergence {}", text, text);
  return line + "\n";
}

/// Nothing where a killed run left half a line.
std::optional<SweepRow> SweepTable::parse(const std::string& line) const {
  const std::vector<std::string> cells = cells_of(line);
  if (cells.size() != 7 + 2 * texts_.size()) return std::nullopt;
  try {
    SweepRow row{cells[0], std::stod(cells[1]), cells[2], std::stod(cells[3]), std::stod(cells[4]), std::stod(cells[6]),
                 {}};
    for (std::size_t t = 0; t < texts_.size(); ++t) {
      row.scores.push_back({texts_[t], 0, std::stod(cells[7 + 2 * t]), std::stod(cells[8 + 2 * t])});
    }
    return row;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

const SweepRow* SweepTable::find(const std::string& id) const {
  const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const SweepRow& r) { return r.id == id; });
  return row == rows_.end() ? nullptr : &*row;
}

void SweepTable::append(SweepRow row) {
  if (world_.is_root()) {
    std::string text;
    {
      std::ifstream before(path_, std::ios::binary | std::ios::ate);
      if (!before.good() || before.tellg() == 0) {
        text = header();
      } else {
        before.seekg(-1, std::ios::end);
        if (before.get() != '\n') text = "\n";  // ends the line that a killed run left
      }
    }
    text += line_of(row);
    std::ofstream file(path_, std::ios::binary | std::ios::app);
    file << text;
    file.flush();
    validate(file.good(), "--output {}: cannot be written (no permission, or the disk is full)", path_.string());
  }
  rows_.push_back(std::move(row));
}

std::string SweepTable::markdown(const std::vector<std::string>& ids) const {
  std::string head = fmt::format("| method | {} | stored | ratio |", rule_);
  std::string rule = "| --- | ---: | ---: | ---: |";
  for (const std::string& text : texts_) {
    head += fmt::format(" perplexity {} | KL {} |", text, text);
    rule += " ---: | ---: |";
  }
  std::string table = head + " seconds |\n" + rule + " ---: |\n";
  for (const std::string& id : ids) {
    const SweepRow* row = find(id);
    if (row == nullptr) continue;
    table += fmt::format("| {} | {} | {} | {:.4f} |", row->method, row->value, format_bytes(row->bytes_stored),
                         row->bytes_stored / row->bytes_dense);
    for (const TextScore& score : row->scores)
      table += fmt::format(" {:.3f} | {:.4f} |", score.after, score.divergence);
    table += fmt::format(" {:.1f} |\n", row->seconds);
  }
  return table;
}

}  // namespace hack::jobs
