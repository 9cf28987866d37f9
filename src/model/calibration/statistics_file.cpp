#include "model/calibration/statistics_file.hpp"

#include <array>
#include <cmath>

#include "comm/collectives.hpp"
#include "io/hash.hpp"
#include "kernels/error.hpp"

namespace hack::model {
namespace {

using svd::Hdf5Id;

constexpr const char* file_format = "hack-statistics";

std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& key) {
  io::Hash hash;
  hash.add(key);
  return folder / ("statistics-" + hash.digits().substr(0, 16) + ".h5");
}

/// Nothing where there is no such file, or it is of another key or damaged: it is then written anew.
Hdf5Id open_whole(const std::filesystem::path& path, const std::string& key) {
  if (!std::filesystem::exists(path)) return {};
  try {
    Hdf5Id file = svd::open_file(path);
    if (svd::read_string(file, "format") == file_format && svd::read_string(file, "key") == key) return file;
  } catch (const Error&) {
  }
  return {};
}

}  // namespace

StatisticsFile::StatisticsFile(const comm::Communicator& comm, const std::filesystem::path& folder,
                               const std::string& key)
    : comm_(comm), path_(path_of(folder, key)), file_(open_whole(path_, key)) {
  // All ranks read, or all write.
  const bool is_missing = comm::all_reduce_max(comm_, file_.get() < 0 ? 1.0 : 0.0) > 0;
  if (!is_missing) return;
  temporary_.emplace(path_);
  file_ = svd::create_parallel_file(comm_, temporary_->path());
  svd::write_attribute(file_, "format", std::string(file_format));
  svd::write_attribute(file_, "key", key);
}

svd::InputStatistics StatisticsFile::read(const std::string& input, index_t n) const {
  const Hdf5Id dataset(HACK_HDF5(H5Dopen2(file_.get(), input.c_str(), H5P_DEFAULT)));
  const index_t count = svd::InputStatistics::packed_size(n);
  std::vector<float> lower(static_cast<std::size_t>(count));
  bool is_sound = svd::shape_of(dataset) == std::vector<index_t>{count};
  if (is_sound) svd::read_range(dataset, H5T_NATIVE_FLOAT, 0, count, lower.data());
  for (const float number : lower) is_sound = is_sound && std::isfinite(number);
  validate(is_sound, "{}: {} is damaged (another size, NaN or infinity); remove the file, it is then made anew",
           path_.string(), input);
  return svd::InputStatistics::from_packed(n, lower);
}

void StatisticsFile::write(const std::string& input, svd::InputStatistics& statistics) {
  const std::vector<float> lower = statistics.packed();
  const index_t count = std::ssize(lower);
  const Hdf5Id dataset = svd::create_dataset(file_, input.c_str(), H5T_IEEE_F32LE, std::array{count});
  if (comm_.is_root()) svd::write_range(dataset, H5T_NATIVE_FLOAT, 0, count, lower.data());
  statistics = svd::InputStatistics::from_packed(statistics.h().rows, lower);
}

void StatisticsFile::finish() {
  if (is_whole()) return;
  file_ = Hdf5Id();
  comm_.barrier();
  if (comm_.is_root()) {
    temporary_->rename_to_final();
  } else {
    temporary_->release();
  }
  comm_.barrier();
}

}  // namespace hack::model
