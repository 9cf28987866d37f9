#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/record_file.hpp"

namespace hack::jobs {

/// Rows of a study as they are measured: in PREFIX.json after each phase, and in an io::RecordFile (PREFIX.records)
/// from which the run takes them that goes on after a kill. Used by one rank.
class StudyTable {
 public:
  /// `key`: what the rows depend on. An Error where the files are another study's, saying what differs, or where
  /// PREFIX.json stands without its records.
  StudyTable(const std::filesystem::path& prefix, nlohmann::json key);

  /// Whether a phase was measured on so many ranks, of a slice where `slice` names one.
  bool has(const std::string& phase, int ranks, const std::string& slice = "") const;
  /// Adds rows; they are on disk on return.
  void add(const std::vector<nlohmann::json>& rows);
  const std::vector<nlohmann::json>& rows() const { return rows_; }

  /// Speed-up and efficiency against the smallest rank count of each phase, added to the rows: rate(P) / rate(P0), and
  /// that times P0 / P. `base_ranks` says P0.
  void compare();

  /// Writes everything: PREFIX.json with `model`'s parts, PREFIX.csv with one row a measurement or prediction,
  /// PREFIX.md. Returns the text of PREFIX.md.
  std::string finish(const nlohmann::json& model, const std::string& title) const;

 private:
  std::filesystem::path file(const char* extension) const { return prefix_.string() + extension; }
  void write(const nlohmann::json& model) const;

  std::filesystem::path prefix_;
  nlohmann::json key_;
  io::RecordFile records_;  // one for each call of add()
  std::vector<nlohmann::json> rows_;
};

}  // namespace hack::jobs
