#include "comm/journal.hpp"

#include <exception>
#include <optional>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"

namespace hack::comm {
namespace {

namespace fs = std::filesystem;

using io::RecordFile;

fs::path own_path(const fs::path& folder, const Communicator& comm, const std::string& kind) {
  return folder / fmt::format("rank-{}.{}", comm.rank(), kind);
}

nlohmann::json owner_of(const Communicator& comm, const std::string& key) {
  return {{"ranks", comm.size()}, {"run", key}};
}

/// Whether a file in the folder is one of a journal's.
bool is_own(const fs::path& path) { return path.filename().string().rfind("rank-", 0) == 0; }

/// A record's content, which was there when the run began.
std::string still_there(std::optional<std::string> content, const fs::path& path) {
  if (!content) throw ResumeError(fmt::format("cannot read {} (it has changed)", path.string()));
  return *std::move(content);
}

}  // namespace

Journal::Journal(const Communicator& comm, fs::path folder, const std::string& key, bool resume)
    : comm_(comm),
      folder_(std::move(folder)),
      key_(key),
      resume_(resume),
      exceptions_(std::uncaught_exceptions()),
      records_(own_path(folder_, comm, "journal"), "journal", owner_of(comm, key)) {
  if (resume_) {
    check_owner();
    take_up();
  } else {
    if (comm_.is_root()) remove_all_files();
    comm_.barrier();
    records_.clear();
  }
}

Journal::~Journal() {
  if (!resume_ && std::uncaught_exceptions() > exceptions_) remove_all_files();
}

fs::path Journal::state_path(index_t step) const { return own_path(folder_, comm_, fmt::format("state-{}", step)); }

RecordFile Journal::state_file(index_t step, const fs::path& path) const {
  nlohmann::json key = owner_of(comm_, key_);
  key["step"] = step;
  return {path, "state", key};
}

/// What rank 0 finds decides for all: other ranks may have been killed before they wrote anything.
void Journal::check_owner() const {
  std::string problem;
  if (comm_.is_root() && records_.owner() >= RecordFile::Owner::other_work) {
    const nlohmann::json found = records_.found_key();
    const nlohmann::json ranks = found.is_object() ? found.value("ranks", nlohmann::json()) : nlohmann::json();
    problem = ranks.is_number() && ranks != comm_.size()
                  ? fmt::format("it was begun by {} ranks, this run has {}", ranks.dump(), comm_.size())
                  : "it is of another model, text or options";
  }
  broadcast(comm_, problem);
  if (!problem.empty()) throw ResumeError(fmt::format("cannot resume from {} ({})", folder_.string(), problem));
}

/// Finds the steps that every rank has finished and cuts off what lies behind them.
void Journal::take_up() {
  index_t sound = 0;
  while (sound < steps() && records_.read(sound)) ++sound;
  const auto of_all = static_cast<index_t>(-all_reduce_max(comm_, -static_cast<double>(sound)));
  // Ranks are at most one step apart, so the state of the last step of all is one of the two that are kept.
  const bool lost = of_all > 0 && !has_state(of_all - 1);
  const bool is_empty = all_reduce_max(comm_, lost ? 1.0 : 0.0) > 0 || of_all == 0;
  if (!is_empty) return records_.truncate(of_all);
  remove_own_files();
  records_.clear();
}

bool Journal::has_state(index_t step) const {
  const RecordFile file = state_file(step, state_path(step));
  return file.size() == 1 && file.read(0);
}

std::string Journal::record(index_t step) const { return still_there(records_.read(step), records_.path()); }

std::string Journal::state() const {
  const fs::path path = state_path(steps() - 1);
  const RecordFile file = state_file(steps() - 1, path);
  std::optional<std::string> text;
  if (file.size() == 1) text = file.read(0);
  return still_there(std::move(text), path);
}

void Journal::append(const std::string& record, const Pieces& state) {
  append(Pieces{std::as_bytes(std::span(record))}, state);
}

void Journal::append(const Pieces& record, const Pieces& state) {
  const index_t step = steps();
  fs::create_directories(folder_);
  // The state first: a record that is whole then always has one.
  const fs::path unfinished = state_path(step).string() + ".tmp";
  RecordFile file = state_file(step, unfinished);
  file.clear();
  file.append("", state);
  fs::rename(unfinished, state_path(step));
  records_.append("", record);
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
