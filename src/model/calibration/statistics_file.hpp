#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "comm/output_claim.hpp"
#include "io/record_file.hpp"
#include "io/temporary_file.hpp"
#include "svd/fit/input_statistics.hpp"

namespace hack::model {

/// Sums over the inputs of a dense model on disk: whoever compresses it again with the same text, by another method or
/// to another size, need not run it. A RecordFile named by its key (model, text and options, in words), with a record
/// for each input of each layer: the lower triangle of H = Σ x xᵀ, row by row, f32. The last record, "end", says that
/// all are there.
///
/// n (n + 1) / 2 numbers an input: 160 MB for the MLP of SmolLM2-135M, 14 GB for that of an 8B model.
class StatisticsFile {
 public:
  /// Opens the whole file of this key in the folder, or begins one. Where another run is about to write it, this one
  /// keeps nothing. Collective.
  StatisticsFile(const comm::Communicator& comm, const std::filesystem::path& folder, const std::string& key);

  /// Whether statistics are there to be read; otherwise they are to be written.
  bool is_whole() const { return is_whole_; }

  /// Returns one input's statistics. An Error names the file where they are damaged.
  svd::InputStatistics read(const std::string& input, index_t n) const;

  /// Keeps one input's statistics and rounds them to what read() will return: all runs compute with the same numbers.
  /// Collective.
  void write(const std::string& input, svd::InputStatistics& statistics);

  /// Gives the file its name: all inputs are in it. Collective.
  void finish();

 private:
  const comm::Communicator& comm_;
  std::filesystem::path path_;
  bool is_whole_;
  std::optional<comm::OutputClaim> claim_;
  std::optional<io::TemporaryFile> temporary_;  // of a file that is being written
  io::RecordFile file_;
};

}  // namespace hack::model
