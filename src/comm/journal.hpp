#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/dtype.hpp"

namespace hack::comm {

/// The finished steps of a long collective run, on disk, so that a run that was killed goes on after them. Each rank
/// writes its own files and nothing is exchanged:
///
///     FOLDER/rank-P.journal   key and number of ranks, then of every step: length, record, checksum
///     FOLDER/rank-P.state-N   what the step after N goes on from, with its checksum; the last two are kept
///
/// A record or state that was not written to its end does not count. The folder is made with the first step; it stays
/// where a run is killed. Where an exception ends the run it goes, unless the run was to resume.
class Journal {
 public:
  using Pieces = std::vector<std::span<const std::byte>>;

  /// What a run that may have been killed left in `folder`: taken up if `resume`, else removed. `key` says what the run
  /// does: an Error where the folder is of another key or another number of ranks. Collective.
  Journal(const Communicator& comm, std::filesystem::path folder, const std::string& key, bool resume);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Steps that all ranks had finished.
  index_t steps() const { return std::ssize(records_); }
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
  struct Record {
    std::uintmax_t offset;
    std::size_t length;
  };

  std::string header() const;
  std::filesystem::path state_path(index_t step) const;
  void check_owner() const;
  void take_up();
  bool has_state(index_t step) const;
  void remove_own_files() const noexcept;
  void remove_all_files() const noexcept;

  const Communicator& comm_;
  std::filesystem::path folder_;
  std::filesystem::path path_;
  std::string key_;
  bool resume_;
  int exceptions_;
  std::vector<Record> records_;
};

}  // namespace hack::comm
