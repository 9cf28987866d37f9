#pragma once

#include <filesystem>
#include <string>

#include "comm/communicator.hpp"
#include "io/record_file.hpp"
#include "kernels/dtype.hpp"
#include "kernels/error.hpp"

namespace hack::comm {

/// What a run has left cannot be taken up by this one.
class ResumeError : public Error {
 public:
  using Error::Error;
};

/// The finished steps of a long collective run, on disk, so that a run that was killed goes on after them. Each rank
/// writes its own files and nothing is exchanged:
///
///     FOLDER/rank-P.journal   a RecordFile: the record of every step
///     FOLDER/rank-P.state-N   a RecordFile: what the step after N goes on from; the last two are kept
///
/// Both belong to the run's key and number of ranks. A record or state that was not written to its end, or was changed,
/// does not count, nor do the steps after it. The folder is made with the first step; it stays where a run is killed.
/// Where an exception ends the run it goes, unless the run was to resume.
class Journal {
 public:
  using Pieces = io::RecordFile::Pieces;

  /// What a run that may have been killed left in `folder`: taken up if `resume`, else removed. `key` says what the run
  /// does: a ResumeError where the folder is of another key or another number of ranks. Collective.
  Journal(const Communicator& comm, std::filesystem::path folder, const std::string& key, bool resume);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

  /// Steps that all ranks had finished.
  index_t steps() const { return records_.size(); }
  /// This rank's record of one of them.
  std::string record(index_t step) const;
  /// What the last of them left to go on from.
  std::string state() const;

  /// Adds the next step; record and state are these pieces one after the other. On disk when it returns. Talks to no
  /// other rank: a thread of its own may call it, as long as nothing else of the journal is called before it returns.
  void append(const Pieces& record, const Pieces& state = {});
  void append(const std::string& record, const Pieces& state = {});

  /// Removes the folder: the run is done. Collective.
  void remove();

 private:
  /// The state after a step, as a file of its own.
  io::RecordFile state_file(index_t step, const std::filesystem::path& path) const;
  std::filesystem::path state_path(index_t step) const;
  void check_owner() const;
  void take_up();
  bool has_state(index_t step) const;
  void remove_own_files() const noexcept;
  void remove_all_files() const noexcept;

  const Communicator& comm_;
  std::filesystem::path folder_;
  std::string key_;
  bool resume_;
  int exceptions_;
  io::RecordFile records_;
};

}  // namespace hack::comm
