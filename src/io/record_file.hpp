#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/dtype.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::io {

/// Finished parts of a long work on disk, for the run that goes on after this one or asks for the same again. Every
/// store of the program is such a file (or a few), so that what belongs to whom and what survives a crash is decided
/// here:
///
///     hack-records 1 KIND KEY\n                   a line of text: what the records are and, as JSON, what they depend
///     on then of every record:
///       length of its name, length of its content, digest of the line, the record's place, both lengths and the name
///       name, content, digest of the frame's digest and the content
///
/// Lengths and digests (XXH3) have 8 bytes each, as this machine holds them. A record that was not written to its end
/// does not count, and nothing behind a damaged frame does: the next one that is appended takes its place. Content that
/// was changed is never returned. Used by one rank at a time.
class RecordFile {
 public:
  using Pieces = std::vector<std::span<const std::byte>>;

  /// Whose records a file holds.
  enum class Owner {
    nobody,         ///< there is no such file, or a killed run had hardly begun it: the first append makes it
    this_work,      ///< they are of this kind and key
    other_work,     ///< they are of this kind and another key
    other_program,  ///< it holds no records of this kind
  };

  /// When appended bytes must outlive the machine, beside this process.
  enum class Durable {
    on_return,
    within_a_second,  ///< for small records: a disk takes milliseconds to confirm
  };

  /// Looks at the file, changes nothing. `kind` is a word, `key` whatever the records depend on.
  RecordFile(std::filesystem::path path, std::string_view kind, const nlohmann::json& key);

  Owner owner() const { return owner_; }
  /// The key of other work's records.
  nlohmann::json found_key() const;
  /// In which fields other work's key differs: "dtype is bf16, here f32".
  std::string difference() const;
  const std::filesystem::path& path() const { return path_; }

  /// Number of records; none unless they are this work's.
  index_t size() const { return std::ssize(records_); }
  const std::string& name(index_t record) const { return at(record).name; }
  /// Length of a record's content in bytes.
  std::size_t length(index_t record) const { return at(record).length; }
  /// The last record of this name.
  std::optional<index_t> find(std::string_view name) const;

  /// A record's content; nothing where it was changed.
  std::optional<std::string> read(index_t record) const;
  /// The same into `content`, which has its length; whether it is as it was written.
  bool read(index_t record, std::span<std::byte> content) const;

  /// Adds a record whose content is these pieces one after the other. It outlives this process on return. An Error that
  /// names the file where it cannot be written. Only for files that are nobody's or this work's.
  void append(const std::string& name, const Pieces& content, Durable durable = Durable::on_return);
  void append(const std::string& name, std::string_view content, Durable durable = Durable::on_return);

  /// Forgets all records but the first `count`, in the file too.
  void truncate(index_t count);
  /// Forgets whatever the file holds; the next append begins it anew.
  void clear();

 private:
  struct Record {
    std::string name;
    std::uintmax_t begin;  // of the content
    std::size_t length;
    std::uint64_t digest;  // of the frame
  };

  const Record& at(index_t record) const { return records_[static_cast<std::size_t>(record)]; }
  std::uintmax_t end() const;
  std::uint64_t frame_digest(std::uintmax_t place, const std::string& name, std::size_t length) const;
  void identify(std::string_view kind);
  void scan();

  std::filesystem::path path_;
  std::string key_;        // as JSON
  std::string line_;       // the first one, with its end
  std::string found_key_;  // of other work
  Owner owner_ = Owner::nobody;
  std::vector<Record> records_;
  std::optional<Stopwatch> since_flush_;
};

}  // namespace hack::io
