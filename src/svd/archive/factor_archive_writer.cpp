#include "svd/archive/factor_archive_writer.hpp"

#include <algorithm>
#include <array>

#include "comm/collectives.hpp"
#include "comm/deadline.hpp"
#include "io/digest.hpp"
#include "kernels/error.hpp"
#include "svd/archive/term_columns.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

void write_header(const Hdf5Id& root, const ArchiveInfo& info) {
  const CompressOptions& compression = info.compression;
  write_attribute(root, "format", std::string(archive_format));
  write_attribute(root, "format_version", archive_format_version);
  write_attribute(root, "structures", structure_legend());
  write_attribute(root, "codecs", codec_legend());
  write_attribute(root, "program_version", info.header.program_version);
  write_attribute(root, "model_fingerprint", info.header.model_fingerprint);
  write_attribute(root, "model", info.header.model);
  write_attribute(root, "method", info.header.method);
  write_attribute(root, "mode", std::string(to_string(compression.mode)));
  write_attribute(root, "tile", std::int64_t{compression.tile.height});
  write_attribute(root, "tile_width", std::int64_t{compression.tile.width});
  write_attribute(root, "rank_rule", std::string(to_string(compression.rule.kind)));
  write_attribute(root, "rank_value", compression.rule.value);
  write_attribute(root, "codec", std::string(to_string(compression.codec)));
  write_attribute(root, "storage", std::string(storage_name(compression.storage)));
  write_attribute(root, "options", info.header.options);
  if (compression.keeps_vectors()) {
    write_attribute(root, "values_type", std::string(to_string(compression.values_type)));
  }
}

/// Sizes of one rank's part of a matrix.
struct PartSizes {
  index_t stored = 0;  ///< bytes that count
  index_t terms = 0;
  index_t bytes = 0;
  index_t values = 0;
};

PartSizes sizes_of(const MatrixPart& part) {
  return {.stored = table_entry_bytes * std::ssize(part.tiles) + std::ssize(part.bytes),
          .terms = std::ssize(part.terms),
          .bytes = std::ssize(part.bytes),
          .values = std::ssize(part.values)};
}

/// One size of all ranks' parts: they follow each other in rank order.
SharedRange shared(const comm::Communicator& comm, const std::vector<PartSizes>& sizes, index_t PartSizes::*size) {
  SharedRange range{.count = sizes[static_cast<std::size_t>(comm.rank())].*size};
  for (int p = 0; p < comm.size(); ++p) {
    const index_t count = sizes[static_cast<std::size_t>(p)].*size;
    if (p < comm.rank()) range.first += count;
    range.total += count;
  }
  return range;
}

/// One number of each tile, as an (I, J) table.
template <class T, class F>
void write_tile_column(const Hdf5Id& group, const char* name, hid_t type, const MatrixPart& part, F number) {
  std::vector<T> column;  // (tiles of this rank)
  for (std::size_t t = 0; t < part.tiles.size(); ++t) column.push_back(number(t));
  const Hdf5Id dataset = create_dataset(group, name, type, std::array{part.grid.tile_rows(), part.grid.tile_cols()});
  write_range(dataset, type, part.first_tile, std::ssize(column), column.data());
}

void write_tile_tables(const Hdf5Id& group, const MatrixPart& part) {
  const auto of = [&](double TileChoice::*field) {
    return [&part, field](std::size_t t) { return part.tiles[t].*field; };
  };
  write_tile_column<double>(group, "energy", H5T_IEEE_F64LE, part, of(&TileChoice::energy));
  write_tile_column<double>(group, "discarded", H5T_IEEE_F64LE, part, of(&TileChoice::discarded));
  const index_t r = part.has_spectra ? part.grid.max_rank() : 0;
  const Hdf5Id spectrum =
      create_dataset(group, "spectrum", H5T_IEEE_F32LE, std::array{part.grid.tile_rows(), part.grid.tile_cols(), r});
  write_range(spectrum, H5T_IEEE_F32LE, part.first_tile * r, std::ssize(part.spectra), part.spectra.data());
}

void write_term_table(const Hdf5Id& group, const MatrixPart& part, const SharedRange& range) {
  const TermColumns columns(part);
  for_each_column(columns, [&](const char* name, hid_t type, index_t width, const auto& numbers) {
    std::vector<index_t> shape{range.total};
    if (width > 1) shape.push_back(width);
    const Hdf5Id dataset = create_dataset(group, name, type, shape);
    write_range(dataset, type, range.first * width, range.count * width, numbers.data());
  });
}

void write_value_digests(const Hdf5Id& group, const MatrixPart& part, DType type) {
  const std::byte* next = part.values.data();
  write_tile_column<std::uint64_t>(group, "values_digest", H5T_STD_U64LE, part, [&](std::size_t t) {
    const Tile at = part.grid.tile(part.first_tile + static_cast<index_t>(t));
    const std::span<const std::byte> values(next, static_cast<std::size_t>(at.height * at.width * size_of(type)));
    next += values.size();
    return io::digest64(values);
  });
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
  if (comm_.is_root()) io::CompanionFiles::remove(temporary_.path());
  file_ = create_parallel_file(comm_, temporary_.path());
  companions_.guard(temporary_.path());
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
  const PartSizes mine = sizes_of(part);
  const std::vector<PartSizes> sizes = comm::all_gather(comm_, std::span<const PartSizes>(&mine, 1));
  const Hdf5Id group = create_group(matrices_, part.name);
  write_attribute(group, "rows", std::int64_t{part.grid.rows()});
  write_attribute(group, "cols", std::int64_t{part.grid.cols()});
  write_attribute(group, "tile_rows", std::int64_t{part.grid.tile_height()});
  write_attribute(group, "tile_cols", std::int64_t{part.grid.tile_width()});
  write_attribute(group, "bytes_factors", std::int64_t{shared(comm_, sizes, &PartSizes::stored).total});
  write_attribute(group, "bytes_dense",
                  std::int64_t{dense_bytes(part.grid.rows(), part.grid.cols(), compression_.codec)});
  write_tile_tables(group, part);
  write_term_table(group, part, shared(comm_, sizes, &PartSizes::terms));
  write_bytes(group, "bytes", shared(comm_, sizes, &PartSizes::bytes), part.bytes);
  if (!compression_.keeps_vectors()) return;
  write_value_digests(group, part, compression_.values_type);
  write_bytes(group, "values", shared(comm_, sizes, &PartSizes::values), part.values);
}

void FactorArchiveWriter::write_bytes(const Hdf5Id& group, const char* name, const SharedRange& range,
                                      const std::vector<std::byte>& bytes) {
  const Hdf5Id dataset = create_dataset(group, name, H5T_STD_U8LE, std::array{range.total});
  write_range(dataset, H5T_STD_U8LE, range.first, range.count, bytes.data());
  if (range.total > 0) digested_.push_back(range_of(dataset));
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
    naming(temporary_.path(), [&] {
      const auto by_place = [](const FileRange& a, const FileRange& b) { return a.begin < b.begin; };
      std::sort(digested_.begin(), digested_.end(), by_place);
      seal_archive(temporary_.path(), digested_);
    });
    temporary_.rename_to_final();
  } else {
    temporary_.release();
  }
  comm_.barrier();
}

}  // namespace hack::svd
