#include "model/calibration/statistics_file.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/hash.hpp"
#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr const char* statistics_kind = "statistics";
constexpr const char* last_record = "end";

std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& key) {
  io::Hash hash;
  hash.add(key);
  return folder / ("statistics-" + hash.digits().substr(0, 16) + ".records");
}

}  // namespace

StatisticsFile::StatisticsFile(const comm::Communicator& comm, const std::filesystem::path& folder,
                               const std::string& key)
    : comm_(comm), path_(path_of(folder, key)), file_(path_, statistics_kind, key) {
  // All ranks read, or all write: where there is no such file, or it is of another key or cut short.
  const std::optional<index_t> end = file_.find(last_record);
  const bool is_whole_here = end && file_.read(*end);
  is_whole_ = comm::all_reduce_max(comm_, is_whole_here ? 0.0 : 1.0) == 0;
  if (is_whole_) return;
  io::place_of(path_);
  claim_.emplace(comm_, path_);
  if (!claim_->is_ours()) return;
  temporary_.emplace(path_);
  file_ = io::RecordFile(temporary_->path(), statistics_kind, key);
  file_.clear();
}

svd::InputStatistics StatisticsFile::read(const std::string& input, index_t n) const {
  const std::optional<index_t> record = file_.find(input);
  std::vector<float> lower(static_cast<std::size_t>(svd::InputStatistics::packed_size(n)));
  const auto bytes = std::as_writable_bytes(std::span(lower));
  bool is_sound = record && file_.length(*record) == bytes.size() && file_.read(*record, bytes);
  for (const float number : lower) is_sound = is_sound && std::isfinite(number);
  for (index_t i = 0; i < n; ++i) is_sound = is_sound && lower[static_cast<std::size_t>(i * (i + 3) / 2)] >= 0;
  validate(is_sound,
           "{}: {} is damaged (it was changed, or holds NaN, infinity or sums of squares below 0); remove the file, it "
           "is then made "
           "anew",
           path_.string(), input);
  return svd::InputStatistics::from_packed(n, lower);
}

void StatisticsFile::write(const std::string& input, svd::InputStatistics& statistics) {
  const std::vector<float> lower = statistics.packed();
  if (temporary_ && comm_.is_root())
    file_.append(input, {std::as_bytes(std::span(lower))}, io::RecordFile::Durable::within_a_second);
  statistics = svd::InputStatistics::from_packed(statistics.h().rows, lower);
}

void StatisticsFile::finish() {
  if (!temporary_) return;
  if (comm_.is_root()) {
    file_.append(last_record, std::string_view());
    temporary_->rename_to_final();
  } else {
    temporary_->release();
  }
  comm_.barrier();
}

}  // namespace hack::model
