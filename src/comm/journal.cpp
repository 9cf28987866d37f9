#include "comm/journal.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <fstream>
#include <optional>

#include <fmt/format.h>

#include "comm/collectives.hpp"
#include "io/durable_file.hpp"
#include "kernels/error.hpp"

namespace hack::comm {
namespace {

namespace fs = std::filesystem;

constexpr const char* format = "hack-journal 2";
constexpr std::size_t digest_length = 32;

using Pieces = Journal::Pieces;

/// Tells whole records from torn ones; of all bytes that were added, however they were cut into pieces. Eight bytes at
/// a time: records are as large as archives.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    while (count_ % word_size != 0 && !bytes.empty()) add_byte(bytes);
    for (; bytes.size() >= word_size; bytes = bytes.subspan(word_size)) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data(), word_size);
      mix(word);
      count_ += word_size;
    }
    while (!bytes.empty()) add_byte(bytes);
  }
  /// 32 hex digits; nothing may be added afterwards.
  std::string digits() {
    mix(word_);
    mix(count_);
    return fmt::format("{:016x}{:016x}", states_[0], states_[1]);
  }

 private:
  static constexpr std::size_t word_size = sizeof(std::uint64_t);

  void add_byte(std::span<const std::byte>& bytes) {
    word_ |= std::to_integer<std::uint64_t>(bytes.front()) << (8 * (count_ % word_size));
    bytes = bytes.subspan(1);
    if (++count_ % word_size != 0) return;
    mix(word_);
    word_ = 0;
  }
  void mix(std::uint64_t word) {
    for (std::uint64_t& state : states_) state = std::rotl(state ^ word, 29) * 0x9fb21c651e98df25u;
  }

  std::array<std::uint64_t, 2> states_ = {0xcbf29ce484222325u, 0x9e3779b97f4a7c15u};
  std::uint64_t word_ = 0;  // the bytes that do not fill one yet
  std::uint64_t count_ = 0;
};

std::string digest(index_t step, const Pieces& pieces) {
  Checksum sum;
  sum.add(std::as_bytes(std::span(&step, 1)));
  for (const std::span<const std::byte> piece : pieces) sum.add(piece);
  return sum.digits();
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string digest(index_t step, const std::string& text) { return digest(step, Pieces{bytes_of(text)}); }

/// `length` bytes from `offset`; nothing where the file is shorter.
std::optional<std::string> read_part(const fs::path& path, std::uintmax_t offset, std::size_t length) {
  std::error_code missing;
  const std::uintmax_t size = fs::file_size(path, missing);
  if (missing || offset > size || length > size - offset) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string text(length, '\0');
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(text.data(), static_cast<std::streamsize>(length));
  if (!file) return std::nullopt;
  return text;
}

/// A file that is its content and then the digest; nothing where that does not hold.
std::optional<std::string> read_checked(const fs::path& path, index_t step) {
  std::error_code missing;
  const std::uintmax_t size = fs::file_size(path, missing);
  if (missing || size < digest_length) return std::nullopt;
  std::optional<std::string> text = read_part(path, 0, size);
  if (!text) return std::nullopt;
  const std::string found = text->substr(size - digest_length);
  text->resize(size - digest_length);
  if (digest(step, *text) != found) return std::nullopt;
  return text;
}

/// Whether a file in the folder is one of a journal's.
bool is_own(const fs::path& path) { return path.filename().string().rfind("rank-", 0) == 0; }

}  // namespace

Journal::Journal(const Communicator& comm, fs::path folder, const std::string& key, bool resume)
    : comm_(comm),
      folder_(std::move(folder)),
      path_(folder_ / ("rank-" + std::to_string(comm.rank()) + ".journal")),
      key_(key),
      resume_(resume),
      exceptions_(std::uncaught_exceptions()) {
  if (resume_) {
    check_owner();
    take_up();
  } else {
    if (comm_.is_root()) remove_all_files();
    comm_.barrier();
  }
}

Journal::~Journal() {
  if (!resume_ && std::uncaught_exceptions() > exceptions_) remove_all_files();
}

/// Ends with the number of ranks and the key, each on a line.
std::string Journal::header() const { return fmt::format("{}\n{}\n{}\n", format, comm_.size(), key_); }

fs::path Journal::state_path(index_t step) const {
  return folder_ / ("rank-" + std::to_string(comm_.rank()) + ".state-" + std::to_string(step));
}

/// What rank 0 finds decides for all: other ranks may have been killed before they wrote anything.
void Journal::check_owner() const {
  std::string problem;
  if (comm_.is_root() && fs::exists(path_)) {
    const std::string expected = header();
    if (read_part(path_, 0, expected.size()) != expected) {
      std::ifstream file(path_);
      std::string line, ranks;
      std::getline(file, line);
      std::getline(file, ranks);
      const bool other_ranks = line == format && ranks != std::to_string(comm_.size());
      problem = other_ranks ? fmt::format("it was begun by {} ranks, this run has {}", ranks, comm_.size())
                            : "it is of another model, text or options";
    }
  }
  broadcast(comm_, problem);
  validate(problem.empty(), "cannot resume from {} ({}); run it as it was begun, or leave out --resume to begin anew",
           folder_.string(), problem);
}

/// Finds the steps that every rank has finished and cuts off what lies behind them.
void Journal::take_up() {
  std::uintmax_t at = header().size();
  if (read_part(path_, 0, at) == header()) {
    for (index_t step = 0;; ++step) {
      const std::optional<std::string> length = read_part(path_, at, sizeof(std::uint64_t));
      if (!length) break;
      std::uint64_t size = 0;
      std::memcpy(&size, length->data(), sizeof(size));
      const std::uintmax_t begin = at + sizeof(size);
      const std::optional<std::string> record = read_part(path_, begin, size);
      if (!record || read_part(path_, begin + size, digest_length) != digest(step, *record)) break;
      records_.push_back({begin, size});
      at = begin + size + digest_length;
    }
  }
  const auto of_all = static_cast<std::size_t>(-all_reduce_max(comm_, -static_cast<double>(records_.size())));
  records_.resize(of_all);
  // Ranks are at most one step apart, so the state of the last step of all is one of the two that are kept.
  const bool lost = of_all > 0 && !has_state(steps() - 1);
  if (all_reduce_max(comm_, lost ? 1.0 : 0.0) > 0) records_.clear();
  if (!fs::exists(path_)) return;
  if (records_.empty()) return remove_own_files();
  fs::resize_file(path_, records_.back().offset + records_.back().length + digest_length);
}

bool Journal::has_state(index_t step) const { return read_checked(state_path(step), step).has_value(); }

std::string Journal::record(index_t step) const {
  const Record& at = records_[static_cast<std::size_t>(step)];
  std::optional<std::string> text = read_part(path_, at.offset, at.length);
  validate(text.has_value(), "cannot read {} (it has changed); leave out --resume to begin anew", path_.string());
  return *std::move(text);
}

std::string Journal::state() const {
  std::optional<std::string> text = read_checked(state_path(steps() - 1), steps() - 1);
  validate(text.has_value(), "cannot read {} (it has changed); leave out --resume to begin anew",
           state_path(steps() - 1).string());
  return *std::move(text);
}

void Journal::append(const std::string& record, const Pieces& state) { append(Pieces{bytes_of(record)}, state); }

void Journal::append(const Pieces& record, const Pieces& state) {
  const index_t step = steps();
  fs::create_directories(folder_);
  // The state first: a record that is whole then always has one.
  const fs::path unfinished = state_path(step).string() + ".tmp";
  {
    io::DurableFile file(unfinished, io::DurableFile::Begin::empty);
    for (const std::span<const std::byte> piece : state) file.write(piece);
    file.write(digest(step, state));
    file.flush();
  }
  fs::rename(unfinished, state_path(step));
  std::uint64_t size = 0;
  for (const std::span<const std::byte> piece : record) size += piece.size();
  std::uintmax_t at = step == 0 ? header().size() : fs::file_size(path_);
  {
    io::DurableFile file(path_, step == 0 ? io::DurableFile::Begin::empty : io::DurableFile::Begin::at_end);
    if (step == 0) file.write(header());
    file.write(std::as_bytes(std::span(&size, 1)));
    for (const std::span<const std::byte> piece : record) file.write(piece);
    file.write(digest(step, record));
    file.flush();
    at += sizeof(size);
  }
  records_.push_back({at, size});
  std::error_code ignored;
  if (step >= 2) fs::remove(state_path(step - 2), ignored);
}

void Journal::remove() {
  comm_.barrier();  // the last rank's last step is done
  if (comm_.is_root()) remove_all_files();
}

void Journal::remove_own_files() const noexcept {
  std::error_code ignored;
  const std::string own = "rank-" + std::to_string(comm_.rank()) + ".";
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, ignored)) {
    if (entry.path().filename().string().rfind(own, 0) == 0) fs::remove(entry.path(), ignored);
  }
}

/// A folder that holds other files too stays, with them.
void Journal::remove_all_files() const noexcept {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, ignored)) {
    if (is_own(entry.path())) fs::remove(entry.path(), ignored);
  }
  fs::remove(folder_, ignored);
}

}  // namespace hack::comm
