#include "svd/archive/factor_archive_writer.hpp"

#include <array>

#include "comm/collectives.hpp"
#include "comm/deadline.hpp"
#include "kernels/error.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

void write_header(const Hdf5Id& root, const ArchiveInfo& info) {
  const CompressOptions& compression = info.compression;
  write_attribute(root, "format", std::string(archive_format));
  write_attribute(root, "format_version", compression.keeps_vectors() ? archive_format_version : std::int64_t{2});
  write_attribute(root, "program_version", info.header.program_version);
  write_attribute(root, "model_fingerprint", info.header.model_fingerprint);
  write_attribute(root, "model", info.header.model);
  write_attribute(root, "method", info.header.method);
  write_attribute(root, "mode", std::string(to_string(compression.mode)));
  write_attribute(root, "tile", std::int64_t{compression.tile.height});
  if (compression.tile.width != compression.tile.height) {
    write_attribute(root, "tile_width", std::int64_t{compression.tile.width});
  }
  write_attribute(root, "rank_rule", std::string(to_string(compression.rule.kind)));
  write_attribute(root, "rank_value", compression.rule.value);
  write_attribute(root, "factor_type", std::string(to_string(compression.factor_type)));
  write_attribute(root, "storage", std::string(to_string(compression.storage)));
  write_attribute(root, "options", info.header.options);
  if (compression.keeps_vectors()) {
    write_attribute(root, "values_type", std::string(to_string(compression.values_type)));
  }
}

/// Sizes of one rank's part of a matrix, and of the parts before it.
struct PartSizes {
  std::int64_t bytes = 0;
  std::int64_t u = 0, v = 0, skeleton = 0, values = 0, u_scales = 0, v_scales = 0;  // numbers

  PartSizes& operator+=(const PartSizes& other) {
    bytes += other.bytes;
    u += other.u;
    v += other.v;
    skeleton += other.skeleton;
    values += other.values;
    u_scales += other.u_scales;
    v_scales += other.v_scales;
    return *this;
  }
};

PartSizes sizes_of(const MatrixPart& part, const CompressOptions& options) {
  const FactorType type = options.factor_type;
  PartSizes sizes{.u = std::ssize(part.u) / size_of(type),
                  .v = std::ssize(part.v) / size_of(type),
                  .skeleton = std::ssize(part.skeleton),
                  .values = std::ssize(part.values) / size_of(options.values_type),
                  .u_scales = std::ssize(part.u_scales),
                  .v_scales = std::ssize(part.v_scales)};
  for (std::size_t t = 0; t < part.tiles.size(); ++t) {
    const Tile tile = part.grid.tile(part.first_tile + static_cast<index_t>(t));
    sizes.bytes += stored_bytes(part.tiles[t].kind, tile.height, tile.width, part.tiles[t].rank, type);
  }
  return sizes;
}

/// One field of the ranks' choices, as a column of the tile table.
template <class T, class F>
void write_column(const Hdf5Id& group, const char* name, hid_t type, const MatrixPart& part, F field) {
  std::vector<T> column;  // (tiles of this rank)
  for (const TileChoice& choice : part.tiles) column.push_back(static_cast<T>(field(choice)));
  const Hdf5Id dataset = create_dataset(group, name, type, std::array{part.grid.tile_rows(), part.grid.tile_cols()});
  write_range(dataset, type, part.first_tile, std::ssize(column), column.data());
}

void write_tables(const Hdf5Id& group, const MatrixPart& part) {
  write_column<std::int32_t>(group, "rank", H5T_STD_I32LE, part, [](const TileChoice& c) { return c.rank; });
  write_column<std::uint8_t>(group, "kind", H5T_STD_U8LE, part, [](const TileChoice& c) { return c.kind; });
  write_column<double>(group, "energy", H5T_IEEE_F64LE, part, [](const TileChoice& c) { return c.energy; });
  write_column<double>(group, "discarded", H5T_IEEE_F64LE, part, [](const TileChoice& c) { return c.discarded; });
  const index_t r = part.has_spectra ? part.grid.max_rank() : 0;
  const Hdf5Id spectrum =
      create_dataset(group, "spectrum", H5T_IEEE_F32LE, std::array{part.grid.tile_rows(), part.grid.tile_cols(), r});
  write_range(spectrum, H5T_IEEE_F32LE, part.first_tile * r, std::ssize(part.spectra), part.spectra.data());
}

/// Does a part of the writing; its errors name the file.
template <class F>
void naming(const std::filesystem::path& path, F work) {
  try {
    work();
  } catch (const Error& error) {
    fail("cannot write {} ({}); look at the space left on its disk", path.string(), error.what());
  }
}

}  // namespace

FactorArchiveWriter::FactorArchiveWriter(const comm::Communicator& comm, const std::filesystem::path& path,
                                         const ArchiveInfo& info)
    : comm_(comm), compression_(info.compression), temporary_(path) {
  const comm::Deadline::Wait wait("H5Fcreate");
  file_ = create_parallel_file(comm_, temporary_.path());
  write_header(file_, info);
  matrices_ = create_group(file_, "matrices");
}

FactorArchiveWriter::~FactorArchiveWriter() {
  // To close the file takes all ranks. An error brought this one here, and what the others do is unknown: the file
  // stays open, its name goes, and the error reaches main, which ends them all.
  if (comm_.size() > 1) {
    matrices_.release();
    file_.release();
  }
}

void FactorArchiveWriter::write(const MatrixPart& part) {
  HACK_EXPECT(std::ssize(part.spectra) == (part.has_spectra ? std::ssize(part.tiles) * part.grid.max_rank() : 0));
  validate(!part.name.empty() && part.name.find('/') == std::string::npos,
           "'{}' cannot name a matrix in an archive (it is empty or has a '/')", part.name);
  naming(temporary_.path(), [&] { write_group(part); });
}

void FactorArchiveWriter::write_group(const MatrixPart& part) {
  const FactorType type = compression_.factor_type;
  const PartSizes mine = sizes_of(part, compression_);
  PartSizes before, all;  // of the ranks before this one, and of all
  const std::vector<PartSizes> sizes = comm::all_gather(comm_, std::span<const PartSizes>(&mine, 1));
  for (int p = 0; p < comm_.size(); ++p) {
    if (p == comm_.rank()) before = all;
    all += sizes[static_cast<std::size_t>(p)];
  }

  const Hdf5Id group = create_group(matrices_, part.name);
  write_attribute(group, "rows", std::int64_t{part.grid.rows()});
  write_attribute(group, "cols", std::int64_t{part.grid.cols()});
  write_attribute(group, "tile_rows", std::int64_t{part.grid.tile_height()});
  write_attribute(group, "tile_cols", std::int64_t{part.grid.tile_width()});
  write_attribute(group, "bytes_factors", all.bytes);
  write_attribute(group, "bytes_dense", std::int64_t{dense_bytes(part.grid.rows(), part.grid.cols(), type)});
  write_tables(group, part);
  const auto write_array = [&](const char* name, const Hdf5Id& number, std::int64_t PartSizes::*size,
                               const void* numbers) {
    const Hdf5Id dataset = create_dataset(group, name, number.get(), std::array{index_t{all.*size}});
    write_range(dataset, number.get(), before.*size, mine.*size, numbers);
  };
  write_array("u", file_type(type), &PartSizes::u, part.u.data());
  write_array("v", file_type(type), &PartSizes::v, part.v.data());
  write_array("skeleton", Hdf5Id(HACK_HDF5(H5Tcopy(H5T_STD_U8LE))), &PartSizes::skeleton, part.skeleton.data());
  if (compression_.keeps_vectors()) {
    write_array("values", file_type(compression_.values_type), &PartSizes::values, part.values.data());
  }
  if (!type.has_scales()) return;
  write_array("u_scale", file_type(DType::bf16), &PartSizes::u_scales, part.u_scales.data());
  write_array("v_scale", file_type(DType::bf16), &PartSizes::v_scales, part.v_scales.data());
}

void FactorArchiveWriter::finish() {
  naming(temporary_.path(), [&] {
    const comm::Deadline::Wait wait("H5Fclose");
    HACK_HDF5(H5Fflush(file_.get(), H5F_SCOPE_GLOBAL));
    HACK_HDF5(H5Gclose(matrices_.release()));
    HACK_HDF5(H5Fclose(file_.release()));
  });
  comm_.barrier();
  if (comm_.is_root()) {
    temporary_.rename_to_final();
  } else {
    temporary_.release();
  }
  comm_.barrier();
}

}  // namespace hack::svd
