#include "model/calibration/sensitivity_file.hpp"

#include <array>
#include <cmath>

#include "io/temporary_file.hpp"
#include "kernels/error.hpp"
#include "svd/archive/hdf5.hpp"

namespace hack::model {
namespace {

using svd::Hdf5Id;

constexpr const char* file_format = "hack-sensitivities";

MatrixSensitivity read_matrix(const Hdf5Id& file, const std::string& name) {
  const Hdf5Id group(HACK_HDF5(H5Gopen2(file.get(), name.c_str(), H5P_DEFAULT)));
  const auto size = [&](const char* attribute) {
    const std::int64_t value = svd::read_integer(group, attribute);
    validate(value >= 1 && value <= 0x7fffffff, "{} of {} is {}", attribute, name, value);
    return static_cast<index_t>(value);
  };
  MatrixSensitivity out{name, svd::TileGrid(size("rows"), size("cols"), size("tile_rows"), size("tile_cols")), {}};
  out.divergence = svd::read_double(group, "divergence");
  out.discarded = svd::read_double(group, "discarded");
  index_t count = 0;
  for (index_t t = 0; t < out.grid.size(); ++t) count += out.grid.tile(t).full_rank();
  const Hdf5Id sigma(HACK_HDF5(H5Dopen2(group.get(), "sigma", H5P_DEFAULT)));
  validate(svd::shape_of(sigma) == std::vector<index_t>{count}, "{} has another number of singular values", name);
  out.sigma.resize(static_cast<std::size_t>(count));
  svd::read_range(sigma, H5T_NATIVE_FLOAT, 0, count, out.sigma.data());
  bool is_finite = std::isfinite(out.divergence) && std::isfinite(out.discarded) && out.discarded >= 0;
  for (const float value : out.sigma) is_finite = is_finite && std::isfinite(value) && value >= 0;
  validate(is_finite, "{} holds NaN, infinity or negative numbers", name);
  return out;
}

}  // namespace

void write_sensitivities(const comm::Communicator& comm, const std::filesystem::path& path, const std::string& key,
                         const std::vector<MatrixSensitivity>& matrices) {
  io::TemporaryFile temporary(path);
  {
    const Hdf5Id file = svd::create_parallel_file(comm, temporary.path());
    svd::write_attribute(file, "format", std::string(file_format));
    svd::write_attribute(file, "key", key);
    for (const MatrixSensitivity& matrix : matrices) {
      const Hdf5Id group = svd::create_group(file, matrix.name);
      svd::write_attribute(group, "rows", std::int64_t{matrix.grid.rows()});
      svd::write_attribute(group, "cols", std::int64_t{matrix.grid.cols()});
      svd::write_attribute(group, "tile_rows", std::int64_t{matrix.grid.tile_height()});
      svd::write_attribute(group, "tile_cols", std::int64_t{matrix.grid.tile_width()});
      svd::write_attribute(group, "divergence", matrix.divergence);
      svd::write_attribute(group, "discarded", matrix.discarded);
      const index_t count = std::ssize(matrix.sigma);
      const Hdf5Id sigma = svd::create_dataset(group, "sigma", H5T_IEEE_F32LE, std::array{count});
      if (comm.is_root()) svd::write_range(sigma, H5T_NATIVE_FLOAT, 0, count, matrix.sigma.data());
    }
  }
  comm.barrier();
  if (comm.is_root()) {
    temporary.rename_to_final();
  } else {
    temporary.release();
  }
  comm.barrier();
}

std::optional<std::vector<MatrixSensitivity>> read_sensitivities(const std::filesystem::path& path,
                                                                 const std::string& key,
                                                                 const std::vector<std::string>& names) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const Hdf5Id file = svd::open_file(path);
    if (svd::read_string(file, "format") != file_format || svd::read_string(file, "key") != key) return std::nullopt;
    std::vector<MatrixSensitivity> out;
    for (const std::string& name : names) out.push_back(read_matrix(file, name));
    return out;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace hack::model
