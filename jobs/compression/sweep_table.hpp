#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/communicator.hpp"
#include "jobs/compression/evaluation.hpp"

namespace hack::jobs {

/// What one method made of a model under one rank rule.
struct SweepRow {
  std::string method;
  double value = 1;  ///< of the rule
  std::string id;    ///< tells rows apart that were made with other options
  double bytes_stored = 0;
  double bytes_dense = 0;
  double seconds = 0;
  std::vector<TextScore> scores;
};

/// The rows of a sweep in a CSV file, to which each is appended when it is known: a run that is killed keeps its rows,
/// and the next one goes on after them.
class SweepTable {
 public:
  /// Reads the rows that are there already. `rule`, "keep" or "topk", names a column. An Error where the file is
  /// another table. Collective.
  SweepTable(const comm::Communicator& world, std::filesystem::path path, std::string rule,
             const std::vector<std::string>& texts);

  /// The row made with these options, if it is there.
  const SweepRow* find(const std::string& id) const;
  /// Rank 0 writes. Collective.
  void append(SweepRow row);

  /// Rows as a Markdown table.
  std::string markdown(const std::vector<std::string>& ids) const;

 private:
  std::string header() const;
  std::optional<SweepRow> parse(const std::string& line) const;

  const comm::Communicator& world_;
  std::filesystem::path path_;
  std::string rule_;
  std::vector<std::string> texts_;  // names for columns
  std::vector<SweepRow> rows_;
};

}  // namespace hack::jobs
