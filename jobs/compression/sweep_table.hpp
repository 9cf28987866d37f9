#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/record_file.hpp"
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

/// The rows of a sweep: a CSV file, written anew with each row that becomes known, and beside it an io::RecordFile
/// (PATH.records) from which the next run takes the rows that are there, whatever ended this one.
class SweepTable {
 public:
  /// Takes the rows that are recorded already. `rule`, "keep" or "topk", names a column. An Error where the file is
  /// another table, or a table without its records. Collective.
  SweepTable(const comm::Communicator& world, std::filesystem::path path, std::string rule,
             const std::vector<std::string>& texts);

  /// The row made with these options, if it is there.
  const SweepRow* find(const std::string& id) const;
  /// Rank 0 writes. Collective.
  void append(SweepRow row);

  /// Rows as a Markdown table.
  std::string markdown(const std::vector<std::string>& ids) const;

 private:
  std::string csv() const;
  SweepRow parse(const std::string& record) const;
  std::vector<std::string> recorded_rows() const;

  const comm::Communicator& world_;
  std::filesystem::path path_;
  std::string rule_;
  std::vector<std::string> texts_;  // names for columns
  io::RecordFile records_;          // one a row, named by its id; rank 0's
  std::vector<SweepRow> rows_;
};

}  // namespace hack::jobs
