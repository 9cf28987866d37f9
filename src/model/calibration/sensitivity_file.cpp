#include "model/calibration/sensitivity_file.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "io/byte_stream.hpp"
#include "io/output_lock.hpp"
#include "io/record_file.hpp"
#include "io/temporary_file.hpp"
#include "kernels/error.hpp"
#include "svd/archive/matrix_table.hpp"

namespace hack::model {
namespace {

constexpr const char* sensitivity_kind = "sensitivities";

std::string record_of(const MatrixSensitivity& matrix) {
  io::ByteWriter record;
  const svd::TileGrid& grid = matrix.grid;
  for (const index_t size : {grid.rows(), grid.cols(), grid.tile_height(), grid.tile_width()}) record.put(size);
  record.put(matrix.divergence);
  record.put(matrix.discarded);
  record.put(matrix.sigma);
  record.put(matrix.codec_errors);
  return record.bytes();
}

MatrixSensitivity matrix_of(const std::string& name, const std::string& record) {
  io::ByteReader reader(record);
  index_t sizes[4];
  for (index_t& size : sizes) {
    size = reader.get<index_t>();
    validate(size >= 1 && size <= svd::largest_matrix_size, "a size of {} is {}", name, size);
  }
  MatrixSensitivity out{name, svd::TileGrid(sizes[0], sizes[1], sizes[2], sizes[3]), {}};
  out.divergence = reader.get<double>();
  out.discarded = reader.get<double>();
  out.sigma = reader.get_vector<float>();
  out.codec_errors = reader.get_vector<double>();
  index_t count = 0;  // each tile has one value at least: no claim of a size makes this loop longer than the record
  validate(out.grid.size() <= std::ssize(out.sigma) || !out.codec_errors.empty(), "{} has too few singular values",
           name);
  for (index_t t = 0; t < out.grid.size() && out.codec_errors.empty(); ++t) count += out.grid.tile(t).full_rank();
  validate(std::ssize(out.sigma) == count, "{} has another number of singular values", name);
  bool is_finite = std::isfinite(out.divergence) && std::isfinite(out.discarded) && out.discarded >= 0;
  for (const float value : out.sigma) is_finite = is_finite && std::isfinite(value) && value >= 0;
  for (const double error : out.codec_errors) is_finite = is_finite && std::isfinite(error) && error >= 0;
  validate(is_finite, "{} holds NaN, infinity or negative numbers", name);
  return out;
}

/// Where another run is writing the same, that one's will do.
void write_file(const std::filesystem::path& path, const std::string& key,
                const std::vector<MatrixSensitivity>& matrices) {
  io::place_of(path);
  const std::unique_ptr<io::OutputLock> lock = io::OutputLock::take(path);
  if (!lock) return;
  io::TemporaryFile temporary(path);
  io::RecordFile file(temporary.path(), sensitivity_kind, key);
  file.clear();
  for (const MatrixSensitivity& matrix : matrices)
    file.append(matrix.name, record_of(matrix), io::RecordFile::Durable::within_a_second);
  temporary.rename_to_final();
}

}  // namespace

void write_sensitivities(const comm::Communicator& comm, const std::filesystem::path& path, const std::string& key,
                         const std::vector<MatrixSensitivity>& matrices) {
  if (comm.is_root() && !matrices.empty()) write_file(path, key, matrices);
  comm.barrier();
}

std::optional<std::vector<MatrixSensitivity>> read_sensitivities(const std::filesystem::path& path,
                                                                 const std::string& key,
                                                                 const std::vector<std::string>& names) {
  const io::RecordFile file(path, sensitivity_kind, key);
  try {
    std::vector<MatrixSensitivity> out;
    for (const std::string& name : names) {
      const std::optional<index_t> record = file.find(name);
      const std::optional<std::string> content = record ? file.read(*record) : std::nullopt;
      if (!content) return std::nullopt;
      out.push_back(matrix_of(name, *content));
    }
    return out;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace hack::model
