#include "svd/archive/factor_archive.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "kernels/row_marks.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

using comm::Communicator;
using kernels::Structure;

/// A folder that all ranks see, removed at the end of the test.
class FactorArchiveTest : public testing::Test {
 protected:
  FactorArchiveTest() {
    std::string name = (std::filesystem::temp_directory_path() / "hack-archive-XXXXXX").string();
    if (world_.is_root()) name = mkdtemp(name.data());
    comm::broadcast(world_, name);
    folder_ = name;
  }
  ~FactorArchiveTest() override {
    world_.barrier();
    std::error_code ignored;
    if (world_.is_root()) std::filesystem::remove_all(folder_, ignored);
  }

  std::filesystem::path mine(const std::string& name) const {
    return folder_ / (name + std::to_string(world_.rank()) + ".h5");
  }

  Communicator world_ = Communicator::world();
  std::filesystem::path folder_;
};

ArchiveInfo example_info(FactorType type) {
  ArchiveInfo info;
  info.header = {"1.2.3", "fingerprint", R"({"layers": 2})", "plain", ""};
  info.compression = {TileMode::tile, 4, {RankRule::Kind::tolerance, 0.25}, type, Storage::interpolative};
  return info;
}

/// Which tiles an example holds.
enum class Example { all_kinds, without_skeleton, without_spectra };

TileChoice choice_of(const Tile& tile, Example example = Example::all_kinds) {
  Structure kinds[] = {Structure::low_rank, Structure::interpolative, Structure::dense};
  if (example == Example::without_skeleton) kinds[1] = Structure::low_rank;
  if (example == Example::without_spectra) kinds[0] = Structure::interpolative;
  const auto k = static_cast<std::int32_t>((tile.i * 5 + tile.j * 3) % (tile.full_rank() + 1));
  return {kinds[(tile.i + tile.j) % 3], k, 100.0 + static_cast<double>(tile.i), 0.5 * k};
}

/// Rows of an interpolative tile that are skeleton rows.
std::vector<index_t> skeleton_of(const Tile& tile, const TileChoice& choice) {
  std::vector<index_t> rows;
  if (choice.kind != Structure::interpolative) return rows;
  for (index_t r = 0; r < tile.height; ++r) {
    if ((r + tile.i + tile.j) % tile.height < choice.rank) rows.push_back(r);
  }
  return rows;
}

/// Numbers that say which tile and which array they belong to.
std::vector<std::byte> numbers(const Tile& tile, int array, index_t count, FactorType type) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (index_t n = 0; n < count; ++n) values[n] = static_cast<float>((tile.i * 64 + tile.j * 16 + array * 7 + n) % 251);
  std::vector<std::byte> out(static_cast<std::size_t>(count * size_of(type)));
  for (index_t n = 0; type.has_scales() && n < count; ++n) out[n] = static_cast<std::byte>(values[n] - 125);
  if (!type.has_scales()) convert(values.data(), DType::f32, out.data(), type.widened(), count);
  return out;
}

float scale_of(const Tile& tile, int array, index_t row) {
  return 0.25f * static_cast<float>((tile.i + 2 * tile.j + array + row) % 8);
}

/// What a reader gets of these numbers.
std::vector<std::byte> widened(const Tile& tile, int array, index_t rows, index_t count, FactorType type) {
  const std::vector<std::byte> stored = numbers(tile, array, count, type);
  if (!type.has_scales() || count == 0) return stored;
  std::vector<std::byte> out(stored.size() * sizeof(float));
  for (index_t n = 0; n < count; ++n) {
    const float x = scale_of(tile, array, n / (count / rows)) * static_cast<float>(static_cast<std::int8_t>(stored[n]));
    std::memcpy(out.data() + n * sizeof(float), &x, sizeof(float));
  }
  return out;
}

float sigma_of(const Tile& tile, index_t k) { return 50.0f - static_cast<float>(tile.i + tile.j + 2 * k); }

/// What `comm.rank()` of `comm.size()` ranks holds: even parts, and nothing on rank 1 of three or more.
MatrixPart example_part(const Communicator& comm, const std::string& name, const TileGrid& grid, FactorType type,
                        Example example = Example::all_kinds) {
  const auto border = [&](int p) {
    if (comm.size() >= 3 && p == 2) p = 1;
    return grid.size() * p / comm.size();
  };
  MatrixPart part{.name = name,
                  .grid = grid,
                  .first_tile = border(comm.rank()),
                  .has_spectra = example != Example::without_spectra};
  for (index_t t = part.first_tile; t < border(comm.rank() + 1); ++t) {
    const Tile tile = grid.tile(t);
    const TileChoice choice = choice_of(tile, example);
    part.tiles.push_back(choice);
    for (index_t k = 0; part.has_spectra && k < grid.max_rank(); ++k)
      part.spectra.push_back(k < tile.full_rank() ? sigma_of(tile, k) : 0);
    const auto u = numbers(tile, 0, u_size(choice.kind, tile.height, tile.width, choice.rank), type);
    const auto v = numbers(tile, 1, v_size(choice.kind, tile.width, choice.rank), type);
    part.u.insert(part.u.end(), u.begin(), u.end());
    part.v.insert(part.v.end(), v.begin(), v.end());
    for (index_t row = 0; type.has_scales() && row < u_rows(choice.kind, tile.height, choice.rank); ++row)
      part.u_scales.push_back(to_bf16(scale_of(tile, 0, row)));
    for (index_t row = 0; type.has_scales() && row < v_rows(choice.kind, choice.rank); ++row)
      part.v_scales.push_back(to_bf16(scale_of(tile, 1, row)));
    std::vector<std::uint8_t> marks(
        static_cast<std::size_t>(interpolation_bytes(choice.kind, tile.height, choice.rank)));
    for (index_t row : skeleton_of(tile, choice)) {
      if (!marks.empty()) kernels::mark(marks.data(), row);
    }
    part.skeleton.insert(part.skeleton.end(), marks.begin(), marks.end());
  }
  return part;
}

void write_example(const Communicator& comm, const std::filesystem::path& path, FactorType type,
                   Example example = Example::all_kinds) {
  FactorArchiveWriter writer(comm, path, example_info(type));
  writer.write(example_part(comm, "b.up", TileGrid(9, 14, 4, 4), type, example));
  writer.write(example_part(comm, "a.down", TileGrid(14, 9, 4, 4), type, example));
  writer.write(example_part(comm, "c.tall", TileGrid(33, 30, 20, 20), type, example));
  writer.write(example_part(comm, "single", TileGrid(3, 5, 3, 5), type, example));
  writer.finish();
}

std::vector<char> contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const std::pair<FactorType, Example> examples[] = {{DType::bf16, Example::all_kinds},
                                                   {DType::f16, Example::without_spectra},
                                                   {DType::f32, Example::without_skeleton},
                                                   {FactorType::int8, Example::all_kinds}};

TEST_F(FactorArchiveTest, HasTheSameBytesForAnyNumberOfRanks) {
  for (const auto& [type, example] : examples) {
    write_example(world_, folder_ / "all.h5", type, example);
    write_example(Communicator::self(), mine("self"), type, example);
    const std::vector<char> all = contents(folder_ / "all.h5");
    EXPECT_GT(all.size(), 1000u);
    EXPECT_TRUE(all == contents(mine("self")));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "all.h5.tmp"));
    world_.barrier();
  }
}

TEST_F(FactorArchiveTest, GivesBackEveryTile) {
  for (const auto& [type, example] : examples) {
    write_example(world_, folder_ / "all.h5", type, example);
    const bool has_spectra = example != Example::without_spectra;
    const FactorArchive archive(folder_ / "all.h5");
    EXPECT_EQ(archive.matrices(), (std::vector<std::string>{"a.down", "b.up", "c.tall", "single"}));
    EXPECT_TRUE(archive.contains("b.up"));
    EXPECT_FALSE(archive.contains("b"));
    for (const std::string& name : archive.matrices()) {
      const MatrixEntry& entry = archive.matrix(name);
      const std::vector<float> spectrum = archive.spectrum(name);
      index_t bytes = 0;
      for (index_t i = 0; i < entry.grid.tile_rows(); ++i) {
        const std::vector<StoredTile> row = archive.read_tiles(name, i, 0, entry.grid.tile_cols());
        for (index_t j = 0; j < entry.grid.tile_cols(); ++j) {
          const Tile tile = entry.grid.tile(i, j);
          const TileChoice choice = choice_of(tile, example);
          const index_t t = i * entry.grid.tile_cols() + j;
          EXPECT_EQ(entry.ranks[t], choice.rank);
          EXPECT_EQ(entry.kinds[t], choice.kind);
          EXPECT_EQ(entry.energies[t], choice.energy);
          EXPECT_EQ(entry.discarded[t], choice.discarded);
          EXPECT_EQ(row[j].kind, choice.kind);
          EXPECT_EQ(row[j].rank, choice.rank);
          EXPECT_EQ(row[j].u, widened(tile, 0, u_rows(choice.kind, tile.height, choice.rank),
                                      u_size(choice.kind, tile.height, tile.width, choice.rank), type));
          EXPECT_EQ(row[j].v, widened(tile, 1, v_rows(choice.kind, choice.rank),
                                      v_size(choice.kind, tile.width, choice.rank), type));
          EXPECT_EQ(row[j].skeleton, skeleton_of(tile, choice));
          ASSERT_EQ(std::ssize(row[j].sigma), has_spectra ? choice.rank : 0);
          ASSERT_EQ(std::ssize(spectrum), has_spectra ? entry.grid.size() * entry.grid.max_rank() : 0);
          for (index_t k = 0; k < std::ssize(row[j].sigma); ++k) EXPECT_EQ(row[j].sigma[k], sigma_of(tile, k));
          for (index_t k = 0; has_spectra && k < entry.grid.max_rank(); ++k) {
            EXPECT_EQ(spectrum[t * entry.grid.max_rank() + k], k < tile.full_rank() ? sigma_of(tile, k) : 0.0f);
          }
          const std::vector<StoredTile> alone = archive.read_tiles(name, i, j, j + 1);
          EXPECT_EQ(alone.front().u, row[j].u);
          EXPECT_EQ(alone.front().v, row[j].v);
          bytes += stored_bytes(choice.kind, tile.height, tile.width, choice.rank, type);
        }
      }
      EXPECT_EQ(entry.bytes_factors, bytes);
      EXPECT_EQ(entry.bytes_dense, entry.grid.rows() * entry.grid.cols() * size_of(type));
    }
    EXPECT_TRUE(archive.read_tiles("b.up", 1, 2, 2).empty());
    EXPECT_THROW(archive.matrix("c"), Error);
    EXPECT_EQ(archive.info().compression.storage, Storage::interpolative);
    world_.barrier();
  }
}

TEST_F(FactorArchiveTest, GivesBackItsHeader) {
  write_example(world_, folder_ / "all.h5", DType::f16);
  const ArchiveInfo info = FactorArchive(folder_ / "all.h5").info();
  EXPECT_EQ(info.header.program_version, "1.2.3");
  EXPECT_EQ(info.header.model_fingerprint, "fingerprint");
  EXPECT_EQ(info.header.model, R"({"layers": 2})");
  EXPECT_EQ(info.header.method, "plain");
  EXPECT_EQ(info.header.options, "");
  EXPECT_EQ(info.compression.mode, TileMode::tile);
  EXPECT_EQ(info.compression.tile, 4);
  EXPECT_EQ(info.compression.rule, (RankRule{RankRule::Kind::tolerance, 0.25}));
  EXPECT_EQ(info.compression.factor_type, DType::f16);
}

TEST_F(FactorArchiveTest, KeepsAnOlderFileUntilItIsWhole) {
  const std::filesystem::path path = mine("kept");
  const Communicator self = Communicator::self();
  write_example(self, path, DType::f32);
  const std::vector<char> before = contents(path);
  {
    FactorArchiveWriter writer(self, path, example_info(DType::bf16));
    writer.write(example_part(self, "a", TileGrid(8, 8, 4, 4), DType::bf16));
    EXPECT_TRUE(std::filesystem::exists(path.string() + ".tmp"));
  }
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".tmp"));
  EXPECT_TRUE(contents(path) == before);
}

TEST_F(FactorArchiveTest, RefusesNamesThatAreNone) {
  const Communicator self = Communicator::self();
  FactorArchiveWriter writer(self, mine("names"), example_info(DType::bf16));
  const TileGrid grid(4, 4, 4, 4);
  writer.write(example_part(self, "a", grid, DType::bf16));
  EXPECT_THROW(writer.write(example_part(self, "a", grid, DType::bf16)), Error);
  EXPECT_THROW(writer.write(example_part(self, "", grid, DType::bf16)), Error);
  EXPECT_THROW(writer.write(example_part(self, "a/b", grid, DType::bf16)), Error);
}

/// Changes one thing in an archive.
class Vandal {
 public:
  explicit Vandal(const std::filesystem::path& path) : file_(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)) {}

  void set(const char* object, const char* attribute, std::int64_t value) {
    const Hdf5Id owner(H5Oopen(file_.get(), object, H5P_DEFAULT));
    const Hdf5Id id(H5Aopen(owner.get(), attribute, H5P_DEFAULT));
    ASSERT_GE(H5Awrite(id.get(), H5T_NATIVE_INT64, &value), 0);
  }
  void set_text(const char* attribute, const char* value) {
    H5Adelete(file_.get(), attribute);
    write_attribute(file_, attribute, std::string(value));
  }
  /// Sets the first number of a dataset.
  template <class T>
  void set_first(const char* dataset, hid_t type, T value) {
    const Hdf5Id id(H5Dopen2(file_.get(), dataset, H5P_DEFAULT));
    const Hdf5Id space(H5Dget_space(id.get()));
    select_range(space, shape_of(id), 0, 1);
    const hsize_t one = 1;
    const Hdf5Id memory(H5Screate_simple(1, &one, nullptr));
    ASSERT_GE(H5Dwrite(id.get(), type, memory.get(), space.get(), H5P_DEFAULT, &value), 0);
  }
  /// Makes an archive without interpolative tiles what version 1 wrote.
  void make_old() {
    set("/", "format_version", 1);
    ASSERT_GE(H5Adelete(file_.get(), "storage"), 0);
    for (const char* name : {"b.up", "a.down", "c.tall", "single"}) {
      remove((std::string("matrices/") + name + "/skeleton").c_str());
    }
  }
  void remove(const char* name) { ASSERT_GE(H5Ldelete(file_.get(), name, H5P_DEFAULT), 0); }
  /// Puts a dataset of another shape or type, without data, in place of one.
  void replace(const char* name, hid_t type, std::vector<hsize_t> shape, bool in_chunks = false) {
    remove(name);
    const Hdf5Id creation(H5Pcreate(H5P_DATASET_CREATE));
    const std::vector<hsize_t> chunk(shape.size(), 1);
    if (in_chunks) H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data());
    const Hdf5Id space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr));
    const Hdf5Id id(H5Dcreate2(file_.get(), name, type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT));
    ASSERT_GE(id.get(), 0);
  }

 private:
  Hdf5Id file_;
};

/// The message with which the archive is refused after `damage`.
template <class F>
std::string refusal(const std::filesystem::path& path, F damage, FactorType type = DType::bf16) {
  write_example(Communicator::self(), path, type);
  damage();
  try {
    const FactorArchive archive(path);
    for (const std::string& name : archive.matrices()) {
      for (index_t i = 0; i < archive.matrix(name).grid.tile_rows(); ++i) {
        archive.read_tiles(name, i, 0, archive.matrix(name).grid.tile_cols());
      }
    }
    return "(accepted)";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST_F(FactorArchiveTest, ReadsVersionOne) {
  const std::filesystem::path path = mine("old");
  write_example(Communicator::self(), path, DType::f16, Example::without_skeleton);
  Vandal(path).make_old();
  const FactorArchive archive(path);
  EXPECT_EQ(archive.info().compression.storage, Storage::low_rank);
  const TileGrid& grid = archive.matrix("b.up").grid;
  for (index_t t = 0; t < grid.size(); ++t) {
    const Tile tile = grid.tile(t);
    const TileChoice choice = choice_of(tile, Example::without_skeleton);
    const StoredTile stored = archive.read_tiles("b.up", tile.i, tile.j, tile.j + 1).front();
    EXPECT_EQ(stored.kind, choice.kind);
    EXPECT_EQ(stored.u, numbers(tile, 0, u_size(choice.kind, tile.height, tile.width, choice.rank), DType::f16));
  }
}

TEST_F(FactorArchiveTest, RefusesHostileFiles) {
  const std::filesystem::path path = mine("hostile");
  const std::string matrix = path.string() + ": matrix b.up: ";
  const auto expect_refusal = [&](const std::string& expected, auto damage) {
    const std::string message = refusal(path, damage);
    EXPECT_NE(message.find(expected), std::string::npos) << "expected: " << expected << "\n     got: " << message;
    EXPECT_NE(message.find(path.string()), std::string::npos) << message;
  };
  const std::string b = "matrices/b.up";
  const auto vandal = [&] { return Vandal(path); };

  EXPECT_EQ(refusal(path, [] {}), "(accepted)");
  expect_refusal("cannot read", [&] { std::filesystem::remove(path); });
  expect_refusal("", [&] { std::filesystem::resize_file(path, 0); });
  expect_refusal("truncated", [&] { std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2); });
  expect_refusal("", [&] { std::ofstream(path) << "not HDF5 at all"; });
  expect_refusal("not a factor archive", [&] { vandal().set_text("format", "weights"); });
  expect_refusal("version is 4", [&] { vandal().set("/", "format_version", 4); });
  expect_refusal("tile (0, 1) is of the unknown kind 2", [&] { vandal().make_old(); });
  expect_refusal("unknown storage", [&] { vandal().set_text("storage", "sparse"); });
  expect_refusal("'method' is missing",
                 [&] { H5Adelete(Hdf5Id(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)).get(), "method"); });
  expect_refusal("unknown number type", [&] { vandal().set_text("factor_type", "f8"); });
  expect_refusal("unknown mode", [&] { vandal().set_text("mode", "half"); });
  expect_refusal("'matrices' is missing", [&] { vandal().remove("matrices"); });
  expect_refusal(matrix + "'rank' has the shape", [&] { vandal().set(b.c_str(), "rows", 13); });
  expect_refusal(matrix + "rows is -9", [&] { vandal().set(b.c_str(), "rows", -9); });
  expect_refusal(matrix + "cols is 9223372036854775807",
                 [&] { vandal().set(b.c_str(), "cols", std::numeric_limits<std::int64_t>::max()); });
  expect_refusal(matrix + "tile_rows is 0", [&] { vandal().set(b.c_str(), "tile_rows", 0); });
  expect_refusal(matrix + "its tiles", [&] { vandal().set(b.c_str(), "tile_cols", 15); });
  expect_refusal(matrix + "it claims", [&] { vandal().set(b.c_str(), "bytes_factors", 1); });
  const std::string rank = b + "/rank", kind = b + "/kind", u = b + "/u", spectrum = b + "/spectrum",
                    energy = b + "/energy", skeleton = b + "/skeleton";
  expect_refusal(matrix + "tile (0, 0) has rank 5", [&] { vandal().set_first(rank.c_str(), H5T_NATIVE_INT, 5); });
  expect_refusal(matrix + "tile (0, 0) has rank -1", [&] { vandal().set_first(rank.c_str(), H5T_NATIVE_INT, -1); });
  expect_refusal(matrix + "it claims", [&] { vandal().set_first(rank.c_str(), H5T_NATIVE_INT, 3); });
  expect_refusal(matrix + "tile (0, 0) is of the unknown kind 7",
                 [&] { vandal().set_first(kind.c_str(), H5T_NATIVE_INT, 7); });
  expect_refusal(matrix + "tile (0, 0) discards",
                 [&] { vandal().set_first(energy.c_str(), H5T_NATIVE_DOUBLE, std::nan("")); });
  expect_refusal("'u' is missing", [&] { vandal().remove(u.c_str()); });
  expect_refusal(matrix + "'u' has the shape (3)",
                 [&] { vandal().replace(u.c_str(), file_type(DType::bf16).get(), {3}); });
  expect_refusal(matrix + "the numbers of 'u'", [&] { vandal().replace(u.c_str(), file_type(DType::f16).get(), {3}); });
  expect_refusal(matrix + "'rank' is not stored in one piece", [&] {
    vandal().replace(rank.c_str(), H5T_STD_I32LE, {3, 4}, true);
  });
  expect_refusal("'skeleton' is missing", [&] { vandal().remove(skeleton.c_str()); });
  expect_refusal(matrix + "'skeleton' has the shape (99)",
                 [&] { vandal().replace(skeleton.c_str(), H5T_STD_U8LE, {99}); });
  // Tile (0, 1), of 4 rows, is the first with skeleton rows: 3 of them.
  expect_refusal(matrix + "tile (0, 1) of rank 3 marks 4 of its 4 rows as skeleton, and 0 beyond them",
                 [&] { vandal().set_first(skeleton.c_str(), H5T_NATIVE_INT, 0b1111); });
  expect_refusal(matrix + "tile (0, 1) of rank 3 marks 3 of its 4 rows as skeleton, and 1 beyond them",
                 [&] { vandal().set_first(skeleton.c_str(), H5T_NATIVE_INT, 0b10111); });
  expect_refusal(matrix + "tile (1, 2) needs its singular values, but there is no spectrum", [&] {
    vandal().replace(spectrum.c_str(), H5T_IEEE_F32LE, {3, 4, 0});
  });
  expect_refusal(matrix + "a singular value", [&] {
    const Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const Hdf5Id id(H5Dopen2(file.get(), spectrum.c_str(), H5P_DEFAULT));
    const std::vector<float> bad(3 * 4 * 4, std::numeric_limits<float>::infinity());
    ASSERT_GE(H5Dwrite(id.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, bad.data()), 0);
  });
  expect_refusal(matrix + "'rank' of shape (2000000000, 2000000000) is larger than the file", [&] {
    vandal().set(b.c_str(), "rows", 2000000000);
    vandal().set(b.c_str(), "cols", 2000000000);
    vandal().set(b.c_str(), "tile_rows", 1);
    vandal().set(b.c_str(), "tile_cols", 1);
    // Allocated late, so that the claim costs nothing.
    vandal().remove(rank.c_str());
    const Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const Hdf5Id creation(H5Pcreate(H5P_DATASET_CREATE));
    H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_LATE);
    const hsize_t shape[] = {2000000000, 2000000000};
    const Hdf5Id space(H5Screate_simple(2, shape, nullptr));
    const Hdf5Id id(
        H5Dcreate2(file.get(), rank.c_str(), H5T_STD_I32LE, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT));
    ASSERT_GE(id.get(), 0);
  });
}

TEST_F(FactorArchiveTest, RefusesScalesThatAreNone) {
  const std::filesystem::path path = mine("scales");
  const auto refused = [&](auto damage) { return refusal(path, damage, FactorType::int8); };
  const auto expect_refusal = [&](const std::string& expected, auto damage) {
    const std::string message = refused(damage);
    EXPECT_NE(message.find(path.string() + ": matrix b.up: " + expected), std::string::npos) << message;
  };
  const char* u = "matrices/b.up/u_scale";
  const char* v = "matrices/b.up/v_scale";
  EXPECT_EQ(refused([] {}), "(accepted)");
  // Tile 0 is of rank 0: no rows, no scales.
  for (float bad : {-1.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    expect_refusal("a scale of tile (0, 1) is", [&] { Vandal(path).set_first(u, H5T_NATIVE_FLOAT, bad); });
    expect_refusal("a scale of tile (0, 1) is", [&] { Vandal(path).set_first(v, H5T_NATIVE_FLOAT, bad); });
  }
  expect_refusal("the dataset 'v_scale' is missing", [&] { Vandal(path).remove(v); });
  expect_refusal("'u_scale' has the shape (7)", [&] { Vandal(path).replace(u, file_type(DType::bf16).get(), {7}); });
  expect_refusal("the numbers of 'u_scale'", [&] { Vandal(path).replace(u, H5T_IEEE_F32LE, {7}); });
  const std::string halved = refused([&] { Vandal(path).set_text("factor_type", "bf16"); });
  EXPECT_NE(halved.find("it claims"), std::string::npos) << halved;
}

TEST_F(FactorArchiveTest, SelectsRangesOfAnyBeginningAndEnd) {
  const std::vector<index_t> shape = {3, 4, 5};
  const hsize_t sizes[] = {3, 4, 5};
  const Hdf5Id space(H5Screate_simple(3, sizes, nullptr));
  for (index_t first = 0; first <= 60; ++first) {
    for (index_t last = first; last <= 60; ++last) {
      select_range(space, shape, first, last);
      ASSERT_EQ(H5Sget_select_npoints(space.get()), last - first);
      if (first == last) continue;
      hsize_t low[3], high[3];
      H5Sget_select_bounds(space.get(), low, high);
      EXPECT_EQ(low[0], static_cast<hsize_t>(first / 20));
      EXPECT_EQ(high[0], static_cast<hsize_t>((last - 1) / 20));
    }
  }
}

TEST_F(FactorArchiveTest, WritesRangesInPieces) {
  // Rank p holds 5 p numbers, rank 0 none; 12 bytes a call are 3 numbers.
  const index_t count = 5 * world_.rank();
  const index_t first = comm::exclusive_sum(world_, count);
  const index_t total = static_cast<index_t>(comm::all_reduce_sum(world_, static_cast<double>(count)));
  std::vector<float> values;
  for (index_t i = 0; i < count; ++i) values.push_back(static_cast<float>(first + i));
  const std::filesystem::path path = folder_ / "pieces.h5";
  {
    const Hdf5Id file = create_parallel_file(world_, path);
    const Hdf5Id dataset = create_dataset(file, "x", H5T_IEEE_F32LE, std::array{total});
    write_range(dataset, H5T_NATIVE_FLOAT, first, count, values.data(), 12);
  }
  world_.barrier();
  const Hdf5Id file = open_file(path);
  const Hdf5Id dataset(H5Dopen2(file.get(), "x", H5P_DEFAULT));
  std::vector<float> read(static_cast<std::size_t>(total));
  read_range(dataset, H5T_NATIVE_FLOAT, 0, total, read.data());
  for (index_t i = 0; i < total; ++i) EXPECT_EQ(read[i], static_cast<float>(i));
}

TEST_F(FactorArchiveTest, StoresHalvesAsNumbers) {
  // HDF5 itself converts the file's types to float: the bits mean what hack::bf16 and hack::f16 mean.
  for (DType type : {DType::bf16, DType::f16}) {
    std::vector<float> values = {0.0f, -0.0f, 1.0f, -2.5f, 1e-3f, 6e4f, 1e-7f, 0.333333f};
    std::vector<std::byte> stored(values.size() * 2);
    convert(values.data(), DType::f32, stored.data(), type, std::ssize(values));
    std::vector<float> expected(values.size());
    convert(stored.data(), type, expected.data(), DType::f32, std::ssize(values));
    std::vector<std::byte> buffer(values.size() * 4);
    std::copy(stored.begin(), stored.end(), buffer.begin());
    HACK_HDF5(H5Tconvert(file_type(type).get(), H5T_NATIVE_FLOAT, values.size(), buffer.data(), nullptr, H5P_DEFAULT));
    EXPECT_EQ(std::memcmp(buffer.data(), expected.data(), buffer.size()), 0) << to_string(type);
  }
}

}  // namespace
}  // namespace hack::svd
