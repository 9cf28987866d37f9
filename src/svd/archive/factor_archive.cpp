#include "svd/archive/factor_archive.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/error.hpp"
#include "kernels/row_marks.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;

/// Runs `read` and puts in front of its errors what they are about.
template <class F>
auto naming(const std::string& subject, F read) {
  try {
    return read();
  } catch (const std::exception& error) {
    fail("{}: {}", subject, error.what());
  }
}

herr_t add_name(hid_t, const char* name, const H5L_info_t*, void* names) {
  // Exceptions cannot cross HDF5's C frames.
  try {
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
    return 0;
  } catch (...) {
    return -1;
  }
}

std::vector<std::string> read_names(const Hdf5Id& file) {
  validate(H5Lexists(file.get(), "matrices", H5P_DEFAULT) > 0, "the group 'matrices' is missing");
  const Hdf5Id group(HACK_HDF5(H5Gopen2(file.get(), "matrices", H5P_DEFAULT)));
  std::vector<std::string> names;
  HACK_HDF5(H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add_name, &names));
  return names;
}

Hdf5Id open_group(const Hdf5Id& file, std::string_view name) {
  return Hdf5Id(HACK_HDF5(H5Gopen2(file.get(), fmt::format("matrices/{}", name).c_str(), H5P_DEFAULT)));
}

TileGrid read_grid(const Hdf5Id& group) {
  constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
  std::int64_t sizes[4] = {};
  const char* names[4] = {"rows", "cols", "tile_rows", "tile_cols"};
  for (int i = 0; i < 4; ++i) {
    sizes[i] = read_integer(group, names[i]);
    validate(sizes[i] >= 1 && sizes[i] <= largest, "{} is {}, which is impossible", names[i], sizes[i]);
  }
  validate(sizes[2] <= sizes[0] && sizes[3] <= sizes[1], "its tiles ({} x {}) are larger than the matrix ({} x {})",
           sizes[2], sizes[3], sizes[0], sizes[1]);
  return {sizes[0], sizes[1], sizes[2], sizes[3]};
}

/// Throws an Error unless each tile has as many rows marked as it has skeleton rows.
void check_skeletons(const MatrixEntry& entry) {
  for (index_t t = 0; t < entry.grid.size(); ++t) {
    const std::uint8_t* marks = entry.skeleton.data() + entry.skeleton_offsets[static_cast<std::size_t>(t)];
    const index_t bytes = entry.skeleton_offsets[static_cast<std::size_t>(t) + 1] - (marks - entry.skeleton.data());
    if (bytes == 0) continue;
    const Tile tile = entry.grid.tile(t);
    const index_t k = entry.ranks[static_cast<std::size_t>(t)];
    const index_t marked = kernels::count_marks(marks, tile.height), all = kernels::count_marks(marks, 8 * bytes);
    validate(marked == k && all == k,
             "tile ({}, {}) of rank {} marks {} of its {} rows as skeleton, and {} beyond them", tile.i, tile.j, k,
             marked, tile.height, all - marked);
  }
}

/// Singular values of each tile in the file: all of them, or none.
index_t spectrum_length(const Hdf5Id& group, const TileGrid& grid) {
  if (H5Lexists(group.get(), "spectrum", H5P_DEFAULT) <= 0) return grid.max_rank();  // found missing later
  const std::vector<index_t> shape = shape_of(Hdf5Id(HACK_HDF5(H5Dopen2(group.get(), "spectrum", H5P_DEFAULT))));
  return !shape.empty() && shape.back() == 0 ? 0 : grid.max_rank();
}

std::string listed(const std::vector<index_t>& shape) { return fmt::format("({})", fmt::join(shape, ", ")); }

}  // namespace

ArchiveInfo FactorArchive::read_info() {
  const Hdf5Id& root = file_;
  validate(H5Aexists(root.get(), "format") > 0 && read_string(root, "format") == archive_format,
           "this is not a factor archive (its format is not '{}')", archive_format);
  version_ = read_integer(root, "format_version");
  validate(version_ >= 1 && version_ <= archive_format_version,
           "its format version is {} (this program reads versions up to {}); use a newer program", version_,
           archive_format_version);
  ArchiveInfo info;
  info.header.program_version = read_string(root, "program_version");
  info.header.model_fingerprint = read_string(root, "model_fingerprint");
  info.header.model = read_string(root, "model");
  info.header.method = read_string(root, "method");
  info.header.options = read_string(root, "options");
  info.compression.mode = parse_tile_mode(read_string(root, "mode"));
  info.compression.tile = read_integer(root, "tile");
  if (H5Aexists(root.get(), "tile_width") > 0) info.compression.tile.width = read_integer(root, "tile_width");
  info.compression.rule.kind = parse_rank_rule(read_string(root, "rank_rule"));
  info.compression.rule.value = read_double(root, "rank_value");
  info.compression.factor_type = parse_factor_type(read_string(root, "factor_type"));
  info.compression.storage = version_ < 2 ? Storage::low_rank : parse_storage(read_string(root, "storage"));
  if (info.compression.keeps_vectors()) {
    validate(version_ >= 3 && info.compression.factor_type == FactorType(DType::f32),
             "it keeps vectors of its tiles, but not in f32");
    info.compression.values_type = parse_dtype(read_string(root, "values_type"));
  }
  check_rank_rule(info.compression.rule);
  return info;
}

FactorArchive::FactorArchive(const std::filesystem::path& path) : path_(path) {
  std::error_code missing;
  const auto size = std::filesystem::file_size(path_, missing);
  validate(!missing, "cannot read {} ({})", path_.string(), missing.message());
  file_size_ = static_cast<index_t>(size);
  naming(path_.string(), [&] {
    file_ = open_file(path_);
    info_ = read_info();
    number_type_ = file_type(info_.compression.factor_type);
    names_ = read_names(file_);
  });
  for (const std::string& name : names_) {
    naming(fmt::format("{}: matrix {}", path_.string(), name), [&] { entries_.emplace(name, read_entry(name)); });
  }
}

Hdf5Id FactorArchive::open_dataset(const Hdf5Id& group, const char* name, hid_t expected_type,
                                   const std::vector<index_t>& expected_shape) const {
  validate(H5Lexists(group.get(), name, H5P_DEFAULT) > 0, "the dataset '{}' is missing", name);
  Hdf5Id dataset(HACK_HDF5(H5Dopen2(group.get(), name, H5P_DEFAULT)));
  const Hdf5Id type(HACK_HDF5(H5Dget_type(dataset.get())));
  validate(H5Tequal(type.get(), expected_type) > 0, "the numbers of '{}' are not of the type expected", name);
  const std::vector<index_t> shape = shape_of(dataset);
  validate(shape == expected_shape, "'{}' has the shape {} (expected {})", name, listed(shape), listed(expected_shape));
  // Contiguous data within this file: then no claim of a shape can ask for more memory than the file has bytes.
  const Hdf5Id creation(HACK_HDF5(H5Dget_create_plist(dataset.get())));
  validate(H5Pget_layout(creation.get()) == H5D_CONTIGUOUS && H5Pget_external_count(creation.get()) == 0,
           "'{}' is not stored in one piece", name);
  index_t room = file_size_ / static_cast<index_t>(H5Tget_size(expected_type));
  if (!std::count(shape.begin(), shape.end(), 0)) {
    for (index_t extent : shape) room /= extent;
    validate(room >= 1, "'{}' of shape {} is larger than the file", name, listed(shape));
  }
  return dataset;
}

/// Derives the offsets from the ranks; an Error where rank or kind is impossible or byte counts disagree.
void FactorArchive::set_offsets(MatrixEntry& entry) const {
  const FactorType type = info_.compression.factor_type;
  entry.u_offsets = entry.v_offsets = entry.u_scale_offsets = entry.v_scale_offsets = entry.skeleton_offsets = {0};
  entry.value_offsets = {0};
  index_t bytes = 0;
  for (index_t t = 0; t < entry.grid.size(); ++t) {
    const Tile tile = entry.grid.tile(t);
    const auto at = static_cast<std::size_t>(t);
    const index_t k = entry.ranks[at];
    const Structure kind = entry.kinds[at];
    validate(k >= 0 && k <= tile.full_rank(), "tile ({}, {}) has rank {} (it is {} x {})", tile.i, tile.j, k,
             tile.height, tile.width);
    const bool is_known =
        kind == Structure::low_rank || kind == Structure::dense || (kind == Structure::interpolative && version_ >= 2);
    validate(is_known, "tile ({}, {}) is of the unknown kind {}", tile.i, tile.j, static_cast<int>(kind));
    validate(kind != Structure::low_rank || k == 0 || entry.spectrum_length > 0,
             "tile ({}, {}) needs its singular values, but there is no spectrum", tile.i, tile.j);
    validate(std::isfinite(entry.energies[at]) && entry.energies[at] >= 0 && entry.discarded[at] >= 0 &&
                 entry.discarded[at] <= entry.energies[at],
             "tile ({}, {}) discards {} of the energy {}", tile.i, tile.j, entry.discarded[at], entry.energies[at]);
    entry.u_offsets.push_back(entry.u_offsets.back() + u_size(kind, tile.height, tile.width, k));
    entry.v_offsets.push_back(entry.v_offsets.back() + v_size(kind, tile.width, k));
    entry.u_scale_offsets.push_back(entry.u_scale_offsets.back() + u_rows(kind, tile.height, k));
    entry.v_scale_offsets.push_back(entry.v_scale_offsets.back() + v_rows(kind, k));
    entry.skeleton_offsets.push_back(entry.skeleton_offsets.back() + interpolation_bytes(kind, tile.height, k));
    entry.value_offsets.push_back(entry.value_offsets.back() + tile.height * tile.width);
    validate(!info_.compression.keeps_vectors() || (kind == Structure::low_rank && entry.spectrum_length > 0),
             "tile ({}, {}) has no vectors, but the archive is said to keep them", tile.i, tile.j);
    bytes += stored_bytes(kind, tile.height, tile.width, k, type);
  }
  const index_t dense = dense_bytes(entry.grid.rows(), entry.grid.cols(), type);
  validate(entry.bytes_factors == bytes && entry.bytes_dense == dense,
           "it claims {} and {} bytes (its ranks say {} and {})", entry.bytes_factors, entry.bytes_dense, bytes, dense);
}

MatrixEntry FactorArchive::read_entry(const std::string& name) const {
  const Hdf5Id group = open_group(file_, name);
  MatrixEntry entry{{.grid = read_grid(group)}};
  entry.bytes_factors = read_integer(group, "bytes_factors");
  entry.bytes_dense = read_integer(group, "bytes_dense");
  const index_t tiles = entry.grid.size();
  const std::vector<index_t> table = {entry.grid.tile_rows(), entry.grid.tile_cols()};
  const auto read_column = [&](const char* column, hid_t type, auto& out) {
    const Hdf5Id dataset = open_dataset(group, column, type, table);
    out.resize(static_cast<std::size_t>(tiles));
    read_range(dataset, type, 0, tiles, out.data());
  };
  read_column("rank", H5T_STD_I32LE, entry.ranks);
  read_column("kind", H5T_STD_U8LE, entry.kinds);
  read_column("energy", H5T_IEEE_F64LE, entry.energies);
  read_column("discarded", H5T_IEEE_F64LE, entry.discarded);
  entry.spectrum_length = spectrum_length(group, entry.grid);
  set_offsets(entry);
  open_dataset(group, "spectrum", H5T_IEEE_F32LE,
               {entry.grid.tile_rows(), entry.grid.tile_cols(), entry.spectrum_length});
  open_dataset(group, "u", number_type_.get(), {entry.u_offsets.back()});
  open_dataset(group, "v", number_type_.get(), {entry.v_offsets.back()});
  if (info_.compression.factor_type.has_scales()) {
    const Hdf5Id scale = file_type(DType::bf16);
    open_dataset(group, "u_scale", scale.get(), {entry.u_scale_offsets.back()});
    open_dataset(group, "v_scale", scale.get(), {entry.v_scale_offsets.back()});
  }
  if (version_ < 2) return entry;
  if (info_.compression.keeps_vectors()) {
    open_dataset(group, "values", file_type(info_.compression.values_type).get(), {entry.value_offsets.back()});
  }
  const Hdf5Id skeleton = open_dataset(group, "skeleton", H5T_STD_U8LE, {entry.skeleton_offsets.back()});
  entry.skeleton.resize(static_cast<std::size_t>(entry.skeleton_offsets.back()));
  read_range(skeleton, H5T_STD_U8LE, 0, entry.skeleton_offsets.back(), entry.skeleton.data());
  check_skeletons(entry);
  return entry;
}

const MatrixEntry& FactorArchive::matrix(std::string_view name) const {
  const auto entry = entries_.find(name);
  validate(entry != entries_.end(), "{}: there is no matrix '{}' in this archive", path_.string(), name);
  return entry->second;
}

Hdf5Id FactorArchive::open_matrix_dataset(std::string_view matrix, const char* name) const {
  const Hdf5Id group = open_group(file_, matrix);
  return Hdf5Id(HACK_HDF5(H5Dopen2(group.get(), name, H5P_DEFAULT)));
}

std::vector<std::byte> FactorArchive::read_numbers(std::string_view matrix, const char* array, Range numbers) const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(numbers.size() * size_of(info_.compression.factor_type)));
  read_range(open_matrix_dataset(matrix, array), number_type_.get(), numbers.begin, numbers.size(), bytes.data());
  return bytes;
}

std::vector<bf16> FactorArchive::read_scales(std::string_view matrix, const char* array, Range rows) const {
  std::vector<bf16> scales;
  if (!info_.compression.factor_type.has_scales() || rows.size() == 0) return scales;
  scales.resize(static_cast<std::size_t>(rows.size()));
  read_range(open_matrix_dataset(matrix, array), file_type(DType::bf16).get(), rows.begin, rows.size(), scales.data());
  return scales;
}

std::vector<StoredTile> FactorArchive::read_tiles(std::string_view name, index_t i, index_t first_col,
                                                  index_t last_col) const {
  const TileGrid& grid = matrix(name).grid;
  HACK_EXPECT(i >= 0 && i < grid.tile_rows() && 0 <= first_col && first_col <= last_col &&
              last_col <= grid.tile_cols());
  return read_tiles(name, {i * grid.tile_cols() + first_col, i * grid.tile_cols() + last_col});
}

std::vector<StoredTile> FactorArchive::read_tiles(std::string_view name, Range tiles) const {
  const MatrixEntry& entry = matrix(name);
  HACK_EXPECT(0 <= tiles.begin && tiles.begin <= tiles.end && tiles.end <= entry.grid.size());
  const auto of = [&](const std::vector<index_t>& offsets) {
    return Range{offsets[static_cast<std::size_t>(tiles.begin)], offsets[static_cast<std::size_t>(tiles.end)]};
  };
  return naming(fmt::format("{}: matrix {}", path_.string(), name), [&] {
    const std::vector<std::byte> u = read_numbers(name, "u", of(entry.u_offsets));
    const std::vector<std::byte> v = read_numbers(name, "v", of(entry.v_offsets));
    const std::vector<bf16> u_scales = read_scales(name, "u_scale", of(entry.u_scale_offsets));
    const std::vector<bf16> v_scales = read_scales(name, "v_scale", of(entry.v_scale_offsets));
    const std::vector<float> spectra = spectrum(name, tiles);
    const index_t r = entry.spectrum_length;
    const index_t item = size_of(info_.compression.factor_type);
    std::vector<StoredTile> out;
    for (index_t t = tiles.begin; t < tiles.end; ++t) {
      const auto at = static_cast<std::size_t>(t);
      // The tile's part of what was read, or of all (base 0), `size` bytes or values a number.
      const auto part = [&](const auto& values, const std::vector<index_t>& offsets, index_t base, index_t size) {
        const auto first = static_cast<std::size_t>((offsets[at] - base) * size);
        return std::span(values).subspan(first, static_cast<std::size_t>((offsets[at + 1] - offsets[at]) * size));
      };
      TileBytes bytes{.u = part(u, entry.u_offsets, of(entry.u_offsets).begin, item),
                      .v = part(v, entry.v_offsets, of(entry.v_offsets).begin, item)};
      if (!u_scales.empty()) bytes.u_scales = part(u_scales, entry.u_scale_offsets, of(entry.u_scale_offsets).begin, 1);
      if (!v_scales.empty()) bytes.v_scales = part(v_scales, entry.v_scale_offsets, of(entry.v_scale_offsets).begin, 1);
      if (!entry.skeleton.empty()) bytes.skeleton = part(entry.skeleton, entry.skeleton_offsets, 0, 1);
      bytes.spectrum =
          std::span(spectra).subspan(static_cast<std::size_t>((t - tiles.begin) * r), static_cast<std::size_t>(r));
      out.push_back(decode_tile(entry.grid.tile(t), entry.kinds[at], entry.ranks[at], bytes));
    }
    return out;
  });
}

void FactorArchive::read_values(std::string_view name, index_t tile, MatrixView<float> out) const {
  const MatrixEntry& entry = matrix(name);
  HACK_EXPECT(!entry.value_offsets.empty() && out.ld == out.cols);
  const index_t count = out.rows * out.cols;
  HACK_EXPECT(entry.value_offsets[static_cast<std::size_t>(tile) + 1] -
                  entry.value_offsets[static_cast<std::size_t>(tile)] ==
              count);
  naming(fmt::format("{}: matrix {}", path_.string(), name), [&] {
    const DType type = info_.compression.values_type;
    std::vector<std::byte> bytes(static_cast<std::size_t>(count * size_of(type)));
    read_range(open_matrix_dataset(name, "values"), file_type(type).get(),
               entry.value_offsets[static_cast<std::size_t>(tile)], count, bytes.data());
    convert(bytes.data(), type, out.data, DType::f32, count);
  });
}

std::vector<float> FactorArchive::spectrum(std::string_view name) const {
  return spectrum(name, {0, matrix(name).grid.size()});
}

std::vector<float> FactorArchive::spectrum(std::string_view name, Range tiles) const {
  const index_t r = matrix(name).spectrum_length;
  return naming(fmt::format("{}: matrix {}", path_.string(), name), [&] {
    std::vector<float> out(static_cast<std::size_t>(tiles.size() * r));
    read_range(open_matrix_dataset(name, "spectrum"), H5T_NATIVE_FLOAT, tiles.begin * r, std::ssize(out), out.data());
    return out;
  });
}

}  // namespace hack::svd
