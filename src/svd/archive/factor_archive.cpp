#include "svd/archive/factor_archive.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "io/digest.hpp"
#include "io/json_text.hpp"
#include "kernels/error.hpp"
#include "kernels/finite.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

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

/// Whether a group has an object of this name. An Error where it is a link that leads elsewhere: to another file, which
/// no seal covers, or to what has another name here.
bool has_object(const Hdf5Id& group, const char* name) {
  if (H5Lexists(group.get(), name, H5P_DEFAULT) <= 0) return false;
  H5L_info_t link;
  HACK_HDF5(H5Lget_info(group.get(), name, &link, H5P_DEFAULT));
  validate(link.type == H5L_TYPE_HARD, "'{}' is a link to something else", name);
  return true;
}

std::vector<std::string> read_names(const Hdf5Id& file) {
  validate(has_object(file, "matrices"), "the group 'matrices' is missing");
  const Hdf5Id group(HACK_HDF5(H5Gopen2(file.get(), "matrices", H5P_DEFAULT)));
  std::vector<std::string> names;
  HACK_HDF5(H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add_name, &names));
  return names;
}

Hdf5Id open_group(const Hdf5Id& file, std::string_view name) {
  const std::string path = fmt::format("matrices/{}", name);
  validate(has_object(file, path.c_str()), "the group is missing");
  return Hdf5Id(HACK_HDF5(H5Gopen2(file.get(), path.c_str(), H5P_DEFAULT)));
}

TileGrid read_grid(const Hdf5Id& group) {
  std::int64_t sizes[4] = {};
  const char* names[4] = {"rows", "cols", "tile_rows", "tile_cols"};
  for (int i = 0; i < 4; ++i) {
    sizes[i] = read_integer(group, names[i]);
    validate(sizes[i] >= 1 && sizes[i] <= largest_matrix_size, "{} is {}, which is impossible", names[i], sizes[i]);
  }
  validate(sizes[2] <= sizes[0] && sizes[3] <= sizes[1], "its tiles ({} x {}) are larger than the matrix ({} x {})",
           sizes[2], sizes[3], sizes[0], sizes[1]);
  return {sizes[0], sizes[1], sizes[2], sizes[3]};
}

/// Singular values of each tile in the file: all of them, or none.
index_t spectrum_length(const Hdf5Id& group, const TileGrid& grid) {
  if (!has_object(group, "spectrum")) return grid.max_rank();  // found missing later
  const std::vector<index_t> shape = shape_of(Hdf5Id(HACK_HDF5(H5Dopen2(group.get(), "spectrum", H5P_DEFAULT))));
  return !shape.empty() && shape.back() == 0 ? 0 : grid.max_rank();
}

/// Reports are JSON: a text that is no UTF-8 cannot stand in one.
void check_text(const std::string& text, const std::string& what) {
  try {
    nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("{} is not UTF-8", what);
  }
}

/// Reads a text that is JSON, if it is any.
std::string read_json_text(const Hdf5Id& object, const char* name) {
  std::string text = read_string(object, name);
  if (!text.empty()) io::parse_json(text, fmt::format("attribute '{}'", name));
  return text;
}

/// Reads a text.
std::string read_text(const Hdf5Id& object, const char* name) {
  std::string text = read_string(object, name);
  check_text(text, fmt::format("attribute '{}'", name));
  return text;
}

std::string listed(const std::vector<index_t>& shape) { return fmt::format("({})", fmt::join(shape, ", ")); }

}  // namespace

ArchiveInfo FactorArchive::read_info() {
  const Hdf5Id& root = file_;
  validate(H5Aexists(root.get(), "format") > 0 && read_string(root, "format") == archive_format,
           "this is not a factor archive (its format is not '{}')", archive_format);
  const std::int64_t version = read_integer(root, "format_version");
  validate(version == archive_format_version,
           "its format version is {} (this program reads version {}); use a newer program, or make it anew", version,
           archive_format_version);
  legends_ = parse_legends(read_string(root, "structures"), read_string(root, "codecs"));
  ArchiveInfo info;
  info.header.program_version = read_text(root, "program_version");
  info.header.model_fingerprint = read_text(root, "model_fingerprint");
  info.header.model = read_json_text(root, "model");
  info.header.method = read_text(root, "method");
  info.header.options = read_json_text(root, "options");
  info.compression.mode = parse_tile_mode(read_string(root, "mode"));
  info.compression.tile = {read_integer(root, "tile"), read_integer(root, "tile_width")};
  for (const index_t size : {info.compression.tile.height, info.compression.tile.width}) {
    validate(size >= 1 && size <= std::numeric_limits<std::int64_t>::max() / 2, "its tiles have the size {}", size);
  }
  info.compression.rule.kind = parse_rank_rule(read_string(root, "rank_rule"));
  info.compression.rule.value = read_double(root, "rank_value");
  info.compression.codec = parse_codec(read_string(root, "codec"));
  info.compression.storage = parse_storage(read_string(root, "storage"));
  if (info.compression.keeps_vectors()) {
    validate(info.compression.codec == Codec::f32, "it keeps vectors of its tiles, but not in f32");
    info.compression.values_type = parse_dtype(read_string(root, "values_type"));
  }
  check_rank_rule(info.compression.rule);
  return info;
}

FactorArchive::FactorArchive(const std::filesystem::path& path) : path_(path), digested_(check_seal(path)) {
  file_size_ = static_cast<index_t>(std::filesystem::file_size(path));
  naming(path_.string(), [&] {
    file_ = open_file(path_);
    info_ = read_info();
    names_ = read_names(file_);
    for (const std::string& name : names_) check_text(name, "the name of a matrix");
  });
  for (const std::string& name : names_) {
    naming(fmt::format("{}: matrix {}", path_.string(), name), [&] { entries_.emplace(name, read_entry(name)); });
  }
}

Hdf5Id FactorArchive::open_dataset(const Hdf5Id& group, const char* name, hid_t expected_type,
                                   const std::vector<index_t>& expected_shape) const {
  validate(has_object(group, name), "the dataset '{}' is missing", name);
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

/// A dataset of bytes that have digests of their own: it lies where the seal says.
Hdf5Id FactorArchive::open_bytes(const Hdf5Id& group, const char* name, index_t expected_size) const {
  Hdf5Id dataset = open_dataset(group, name, H5T_STD_U8LE, {expected_size});
  const FileRange range = range_of(dataset);
  const auto is_same = [&](const FileRange& other) { return other.begin == range.begin && other.size == range.size; };
  validate(expected_size == 0 || std::any_of(digested_.begin(), digested_.end(), is_same),
           "the bytes of '{}' are not where the file's seal says", name);
  return dataset;
}

/// Derives the offsets from the terms; an Error where tables disagree.
void FactorArchive::set_offsets(MatrixEntry& entry) const {
  entry.index_terms();
  entry.term_offsets = {0};
  for (const TermEntry& term : entry.terms) {
    entry.term_offsets.push_back(entry.term_offsets.back() + entry.bytes_of(term));
    validate(entry.term_offsets.back() <= file_size_, "its terms need more bytes than the file has (dataset 'rank')");
  }
  index_t bytes = 0;
  for (const TermEntry& term : entry.whole_terms()) bytes += entry.bytes_of(term);
  for (index_t t = 0; t < entry.grid.size(); ++t) {
    const Tile tile = entry.grid.tile(t);
    const auto at = static_cast<std::size_t>(t);
    validate(std::isfinite(entry.energies[at]) && entry.energies[at] >= 0 && entry.discarded[at] >= 0 &&
                 entry.discarded[at] <= entry.energies[at],
             "tile ({}, {}) discards {} of the energy {} (datasets 'discarded' and 'energy')", tile.i, tile.j,
             entry.discarded[at], entry.energies[at]);
    if (info_.compression.keeps_vectors()) {
      validate(entry.terms_of(t).size() == 1 && entry.structure(t) == Structure::low_rank && entry.spectrum_length > 0,
               "tile ({}, {}) has no vectors (dataset 'structure' or 'spectrum'), but the archive is said to keep them",
               tile.i, tile.j);
    }
    bytes += entry.stored_bytes_of(t);
  }
  const index_t dense = dense_bytes(entry.grid.rows(), entry.grid.cols(), info_.compression.codec);
  validate(entry.bytes_factors == bytes && entry.bytes_dense == dense,
           "it claims {} and {} bytes (attributes 'bytes_factors' and 'bytes_dense'; its terms say {} and {})",
           entry.bytes_factors, entry.bytes_dense, bytes, dense);
}

void FactorArchive::read_tile_tables(const Hdf5Id& group, MatrixEntry& entry) const {
  const std::vector<index_t> table = {entry.grid.tile_rows(), entry.grid.tile_cols()};
  const auto read_column = [&](const char* column, hid_t type, auto& out) {
    const Hdf5Id dataset = open_dataset(group, column, type, table);
    out.resize(static_cast<std::size_t>(entry.grid.size()));
    read_range(dataset, type, 0, entry.grid.size(), out.data());
  };
  read_column("energy", H5T_IEEE_F64LE, entry.energies);
  read_column("discarded", H5T_IEEE_F64LE, entry.discarded);
  if (info_.compression.keeps_vectors()) read_column("values_digest", H5T_STD_U64LE, entry.value_digests);
  entry.spectrum_length = spectrum_length(group, entry.grid);
  open_dataset(group, "spectrum", H5T_IEEE_F32LE,
               {entry.grid.tile_rows(), entry.grid.tile_cols(), entry.spectrum_length});
}

void FactorArchive::read_term_table(const Hdf5Id& group, MatrixEntry& entry) const {
  validate(has_object(group, "rank"), "the dataset 'rank' is missing");
  const std::vector<index_t> shape = shape_of(Hdf5Id(HACK_HDF5(H5Dopen2(group.get(), "rank", H5P_DEFAULT))));
  const index_t terms = shape.empty() ? 0 : shape.front();
  TermColumns columns;
  for_each_column(columns, [&](const char* name, hid_t type, index_t width, auto& numbers) {
    std::vector<index_t> expected{terms};
    if (width > 1) expected.push_back(width);
    const Hdf5Id dataset = open_dataset(group, name, type, expected);
    numbers.resize(static_cast<std::size_t>(terms * width));
    read_range(dataset, type, 0, terms * width, numbers.data());
  });
  entry.terms = entries_of(columns, entry.grid, legends_);
}

MatrixEntry FactorArchive::read_entry(const std::string& name) const {
  const Hdf5Id group = open_group(file_, name);
  MatrixEntry entry{{.grid = read_grid(group)}};
  entry.bytes_factors = read_integer(group, "bytes_factors");
  entry.bytes_dense = read_integer(group, "bytes_dense");
  read_tile_tables(group, entry);
  read_term_table(group, entry);
  set_offsets(entry);
  open_bytes(group, "bytes", entry.term_offsets.back());
  if (!info_.compression.keeps_vectors()) return entry;
  entry.value_offsets = {0};
  for (index_t t = 0; t < entry.grid.size(); ++t) {
    const Tile tile = entry.grid.tile(t);
    entry.value_offsets.push_back(entry.value_offsets.back() +
                                  tile.height * tile.width * size_of(info_.compression.values_type));
  }
  open_bytes(group, "values", entry.value_offsets.back());
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

/// Reads consecutive terms, by their numbers in the matrix's table, in one piece.
std::vector<StoredTerm> FactorArchive::read_terms(std::string_view name, Range terms) const {
  const MatrixEntry& entry = matrix(name);
  const index_t begin = entry.term_offsets[static_cast<std::size_t>(terms.begin)];
  const index_t end = entry.term_offsets[static_cast<std::size_t>(terms.end)];
  return naming(fmt::format("{}: matrix {}", path_.string(), name), [&] {
    std::vector<std::byte> bytes(static_cast<std::size_t>(end - begin));
    read_range(open_matrix_dataset(name, "bytes"), H5T_STD_U8LE, begin, end - begin, bytes.data());
    std::vector<StoredTerm> out;
    for (index_t t = terms.begin; t < terms.end; ++t) {
      const TermEntry& of = entry.terms[static_cast<std::size_t>(t)];
      const Tile at = entry.extent_of(of);
      const std::byte* first = bytes.data() + entry.term_offsets[static_cast<std::size_t>(t)] - begin;
      const std::span own(first, static_cast<std::size_t>(entry.bytes_of(of)));
      // Before they are copied: what the digest has brought into the cache is copied from there.
      validate(io::digest64(own) == of.digest,
               "the bytes of tile ({}, {}) in dataset 'bytes' are not those that were written: the file is damaged",
               at.i, at.j);
      StoredTerm term{of.structure, of.codec, of.rank, at.height, at.width, {own.begin(), own.end()}};
      naming("dataset 'bytes'", [&] { check_term(at, term); });
      out.push_back(std::move(term));
    }
    return out;
  });
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
  const auto first_term = [&](index_t tile) { return entry.first_terms[static_cast<std::size_t>(tile)]; };
  std::vector<StoredTerm> terms = read_terms(name, {first_term(tiles.begin), first_term(tiles.end)});
  std::vector<StoredTile> out(static_cast<std::size_t>(tiles.size()));
  for (index_t t = tiles.begin; t < tiles.end; ++t) {
    std::vector<StoredTerm>& of_tile = out[static_cast<std::size_t>(t - tiles.begin)].terms;
    for (index_t n = first_term(t); n < first_term(t + 1); ++n) {
      of_tile.push_back(std::move(terms[static_cast<std::size_t>(n - first_term(tiles.begin))]));
    }
  }
  return out;
}

std::vector<StoredTerm> FactorArchive::read_whole_terms(std::string_view name) const {
  const MatrixEntry& entry = matrix(name);
  return read_terms(name, {entry.first_terms.back(), std::ssize(entry.terms)});
}

void FactorArchive::read_values(std::string_view name, index_t tile, MatrixView<float> out) const {
  const MatrixEntry& entry = matrix(name);
  HACK_EXPECT(!entry.value_offsets.empty() && out.ld == out.cols);
  const auto at = static_cast<std::size_t>(tile);
  const index_t begin = entry.value_offsets[at], size = entry.value_offsets[at + 1] - begin;
  const DType type = info_.compression.values_type;
  HACK_EXPECT(size == out.rows * out.cols * size_of(type));
  naming(fmt::format("{}: matrix {}", path_.string(), name), [&] {
    std::vector<std::byte> bytes(static_cast<std::size_t>(size));
    read_range(open_matrix_dataset(name, "values"), H5T_STD_U8LE, begin, size, bytes.data());
    validate(io::digest64(bytes) == entry.value_digests[at],
             "the bytes of tile {} in dataset 'values' are not those that were written: the file is damaged", tile);
    convert(bytes.data(), type, out.data, DType::f32, out.rows * out.cols);
    validate(are_finite({out.data, static_cast<std::size_t>(out.rows * out.cols)}),
             "a value of tile {} in dataset 'values' is NaN or infinity", tile);
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
    for (const float sigma : out) {
      validate(std::isfinite(sigma) && sigma >= 0, "a singular value in dataset 'spectrum' is {}", sigma);
    }
    return out;
  });
}

}  // namespace hack::svd
