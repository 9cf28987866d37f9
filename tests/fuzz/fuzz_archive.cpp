// Factor archives. The first byte of an input chooses: the file as it is (the seal then refuses nearly everything),
// edits of a sound archive, or an archive written from numbers that fit nothing. Edits and numbers come with valid
// digests: what is impossible about them must be found by the reader itself.

#include <array>
#include <cmath>

#include "kernels/queue.hpp"
#include "svd/archive/dense_rows.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/archive/selected_factors.hpp"
#include "svd/factored_matrix.hpp"
#include "svd/pipeline/compress.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/archive_editor.hpp"
#include "tests/support/example_archive.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::fuzz {
namespace {

namespace fs = std::filesystem;
using comm::Communicator;
using svd::MatrixPart;

const Communicator& self() {
  static const Communicator made = Communicator::self();
  return made;
}

/// A sound archive and what there is to change in it.
struct Base {
  std::string bytes;
  std::vector<std::string> matrices;
  std::vector<std::vector<index_t>> term_offsets;
};

void write_vectors(const fs::path& path) {
  svd::CompressOptions options{
      svd::TileMode::tile, 8, {svd::RankRule::Kind::max_rank, 5}, Codec::f32, svd::Structure::low_rank};
  options.values_type = DType::bf16;
  const auto element = [](index_t row, index_t col, MatrixView<float> out) {
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < out.cols; ++j) {
        out(i, j) = to_float(to_bf16(static_cast<float>(((row + i) * 7 + (col + j) * 13) % 11) - 5));
      }
    }
  };
  Queue<Device::cpu> queue(1);
  const std::vector<svd::MatrixSource> sources = {{"gate", 20, 11, element}, {"up", 11, 20, element}};
  svd::compress<Device::cpu>(self(), queue, sources, options,
                             {{"0", "f", "{}", "plain", R"({"matrices":["gate","up"]})"}, path});
}

std::vector<Base> make_bases() {
  const fs::path path = scratch_folder() / "base.h5";
  std::vector<Base> bases;
  const auto add = [&] {
    Base& base = bases.emplace_back();
    base.bytes = testing::read_file(path);
    const svd::FactorArchive archive(path);
    base.matrices = archive.matrices();
    for (const std::string& name : base.matrices) base.term_offsets.push_back(archive.matrix(name).term_offsets);
  };
  using testing::Example;
  for (const auto& [codec, example] : {std::pair{Codec::bf16, Example::all_kinds},
                                       {Codec::int8, Example::sums},
                                       {Codec::f16, Example::without_spectra},
                                       {Codec::f32, Example::without_skeleton},
                                       {Codec::q4_0, Example::sums},
                                       {Codec::q5_1, Example::all_kinds},
                                       {Codec::q3_64, Example::all_kinds}}) {
    testing::write_example(self(), path, codec, example);
    add();
  }
  write_vectors(path);
  add();
  return bases;
}

const std::vector<Base>& bases() {
  static const std::vector<Base> made = make_bases();
  return made;
}

std::int64_t hostile_integer(Numbers& numbers) {
  constexpr std::int64_t limits[] = {0,         1,         2,         -1,         3,         4,         5,
                                     127,       128,       255,       0x7fffffff, 1ll << 31, 1ll << 32, 1ll << 47,
                                     1ll << 60, INT64_MAX, INT64_MIN, 20,         33,        14,        9};
  const std::size_t which = numbers.below(std::size(limits) + 1);
  return which < std::size(limits) ? limits[which] : numbers.get<std::int64_t>();
}

double hostile_number(Numbers& numbers) {
  constexpr double limits[] = {0, -1, 1e308, -1e-300, HUGE_VAL, -HUGE_VAL, NAN, 1, 0.5, 1e30};
  const std::size_t which = numbers.below(std::size(limits) + 1);
  return which < std::size(limits) ? limits[which] : numbers.get<double>();
}

/// Changes what `numbers` say, by HDF5's own calls; what these refuse stays as it is.
class Edits {
 public:
  Edits(const Base& base, testing::ArchiveEditor& editor) : base_(base), editor_(editor) {}

  void make(Numbers& numbers) {
    for (int n = 0; n < 8 && !numbers.at_end(); ++n) {
      matrix_ = numbers.below(base_.matrices.size());
      group_ = "matrices/" + base_.matrices[matrix_];
      try {
        make_one(numbers);
      } catch (const Error&) {
      }
    }
  }

 private:
  void make_one(Numbers& numbers) {
    switch (numbers.below(10)) {
      case 0:
      case 1:
        return edit_integers(numbers);
      case 2:
        return edit_reals(numbers);
      case 3:
      case 4:
        return edit_bytes(numbers);
      case 5:
        return edit_sizes(numbers);
      case 6:
        return edit_root(numbers);
      case 7:
        return edit_texts(numbers);
      case 8:
        return replace(numbers);
      default:
        return link(numbers);
    }
  }

  /// Of one that is small: a number written into a dataset without data gives it all the bytes that its shape claims.
  index_t size_of(const std::string& dataset) const {
    constexpr index_t most = 1 << 20;
    index_t size = 1;
    for (const index_t extent : svd::shape_of(editor_.open(dataset))) {
      validate(extent == 0 || size <= most / extent, "'{}' is too large to be edited", dataset);
      size *= extent;
    }
    return size;
  }

  void edit_integers(Numbers& numbers) {
    constexpr const char* names[] = {"extent", "structure", "codec", "rank", "digest", "values_digest"};
    const std::string dataset = group_ + "/" + names[numbers.below(std::size(names))];
    const index_t size = size_of(dataset);
    if (size == 0) return;
    const auto at = static_cast<index_t>(numbers.below(static_cast<std::size_t>(size)));
    editor_.set_number(dataset, H5T_NATIVE_INT64, at, hostile_integer(numbers));
  }
  void edit_reals(Numbers& numbers) {
    constexpr const char* names[] = {"energy", "discarded", "spectrum"};
    const std::string dataset = group_ + "/" + names[numbers.below(std::size(names))];
    const index_t size = size_of(dataset);
    if (size == 0) return;
    const auto at = static_cast<index_t>(numbers.below(static_cast<std::size_t>(size)));
    editor_.set_number(dataset, H5T_NATIVE_DOUBLE, at, hostile_number(numbers));
  }
  void edit_bytes(Numbers& numbers) {
    const std::string dataset = group_ + (numbers.below(8) == 0 ? "/values" : "/bytes");
    const index_t size = size_of(dataset);
    for (std::size_t n = 1 + numbers.below(8); n > 0 && size > 0; --n) {
      const auto at = static_cast<index_t>(numbers.get<std::uint32_t>() % static_cast<std::uint64_t>(size));
      constexpr std::uint8_t hostile[] = {0x7f, 0x80, 0xff, 0xc0, 0xbf, 0x7c, 0xfc, 0x00};
      editor_.set_number(dataset, H5T_STD_U8LE, at, hostile[numbers.below(std::size(hostile))]);
    }
    size_of(group_ + "/digest");
    editor_.renew_digests(base_.matrices[matrix_], base_.term_offsets[matrix_]);
  }
  void edit_sizes(Numbers& numbers) {
    constexpr const char* names[] = {"rows", "cols", "tile_rows", "tile_cols", "bytes_factors", "bytes_dense"};
    editor_.set(group_.c_str(), names[numbers.below(std::size(names))], hostile_integer(numbers));
  }
  void edit_root(Numbers& numbers) {
    constexpr const char* names[] = {"format_version", "tile", "tile_width"};
    const std::size_t which = numbers.below(std::size(names) + 1);
    if (which == std::size(names)) return editor_.set_real("/", "rank_value", hostile_number(numbers));
    editor_.set("/", names[which], hostile_integer(numbers));
  }
  void edit_texts(Numbers& numbers) {
    constexpr const char* names[] = {"format", "structures", "codecs", "model",   "options",     "method",
                                     "mode",   "rank_rule",  "codec",  "storage", "values_type", "model_fingerprint"};
    constexpr const char* texts[] = {"",
                                     "dense",
                                     "full",
                                     "tile",
                                     "max-rank",
                                     "keep",
                                     "f32",
                                     "q6_k",
                                     "{}",
                                     "[1]",
                                     "low_rank dense interpolative dense",
                                     "interpolative low_rank",
                                     "\xff\xfe"};
    const char* const name = names[numbers.below(std::size(names))];
    const std::size_t which = numbers.below(std::size(texts) + 2);
    if (which == std::size(texts)) return editor_.set_text(name, std::string(60000, '['));
    if (which > std::size(texts)) return editor_.set_text(name, std::string(numbers.rest().substr(0, 40)));
    editor_.set_text(name, texts[which]);
  }
  void replace(Numbers& numbers) {
    constexpr const char* names[] = {"extent", "structure", "codec",    "rank",          "digest", "bytes",
                                     "energy", "discarded", "spectrum", "values_digest", "values"};
    const std::array<hid_t, 6> types = {H5T_STD_U8LE,   H5T_STD_I32LE, H5T_IEEE_F64LE,
                                        H5T_IEEE_F32LE, H5T_STD_U64LE, H5T_STD_I32BE};
    const std::string dataset = group_ + "/" + names[numbers.below(std::size(names))];
    if (numbers.below(4) == 0) return editor_.remove(dataset.c_str());
    std::vector<hsize_t> shape;
    for (std::size_t d = numbers.below(4); d > 0; --d) {
      shape.push_back(static_cast<hsize_t>(hostile_integer(numbers)) & ((hsize_t{1} << 40) - 1));
    }
    editor_.replace(dataset.c_str(), types[numbers.below(types.size())], shape, numbers.below(4) == 0);
  }
  void link(Numbers& numbers) {
    const hid_t file = editor_.file().get();
    const std::string from = group_ + "/bytes", to = group_ + (numbers.below(2) == 0 ? "" : "/energy");
    if (numbers.below(2) == 0) editor_.remove(to.c_str());
    switch (numbers.below(4)) {
      case 0:
        HACK_HDF5(H5Lcreate_soft("/matrices", file, "matrices/z", H5P_DEFAULT, H5P_DEFAULT));
        return;
      case 1:
        HACK_HDF5(H5Lcreate_external("/dev/zero", "/", file, to.c_str(), H5P_DEFAULT, H5P_DEFAULT));
        return;
      case 2:
        HACK_HDF5(H5Lcreate_hard(file, from.c_str(), file, to.c_str(), H5P_DEFAULT, H5P_DEFAULT));
        return;
      default:
        HACK_HDF5(H5Lcreate_hard(file, "matrices", file, "matrices/loop", H5P_DEFAULT, H5P_DEFAULT));
    }
  }

  const Base& base_;
  testing::ArchiveEditor& editor_;
  std::size_t matrix_ = 0;
  std::string group_;
};

/// A matrix whose terms have any structure, codec and rank, with as many bytes as they need, or nearly.
MatrixPart hostile_part(Numbers& numbers) {
  const auto size = [&] { return static_cast<index_t>(1 + numbers.below(20)); };
  MatrixPart part{.name = "m", .grid = svd::TileGrid(size(), size(), size(), size())};
  part.has_spectra = numbers.below(2) == 0;
  const auto term_of = [&](const svd::Tile& at) {
    svd::StoredTerm term;
    term.structure = svd::structures[numbers.below(svd::structures.size())];
    term.codec = term_codec_specs[numbers.below(term_codec_specs.size())].codec;
    term.rank = static_cast<std::int32_t>(numbers.below(static_cast<std::size_t>(at.full_rank()) + 2));
    const index_t bytes = svd::term_bytes(term.structure, term.codec, at.height, at.width, term.rank);
    const std::size_t change = numbers.below(40);  // mostly none
    const index_t more = change == 0 ? 1 : change == 1 ? -1 : 0;
    for (index_t n = 0; n < bytes + more; ++n)
      term.bytes.push_back(static_cast<std::byte>(numbers.get<std::uint8_t>()));
    return term;
  };
  for (index_t t = 0; t < part.grid.size(); ++t) {
    const svd::Tile at = part.grid.tile(t);
    const double energy = numbers.below(20) == 0 ? hostile_number(numbers) : 1;
    part.tiles.push_back({svd::Structure::dense, 0, energy, numbers.below(20) == 0 ? hostile_number(numbers) : 0.5});
    for (std::size_t n = numbers.below(30) == 0 ? numbers.below(20) : 1; n > 0; --n) part.append(term_of(at), t);
    for (index_t k = 0; part.has_spectra && k < part.grid.max_rank(); ++k) {
      part.spectra.push_back(static_cast<float>(hostile_number(numbers)));
    }
  }
  if (numbers.below(4) == 0) {
    part.append(term_of({0, 0, 0, 0, part.grid.rows(), part.grid.cols()}), svd::TermEntry::whole_matrix);
  }
  return part;
}

void write_hostile(const fs::path& path, Numbers& numbers) {
  svd::ArchiveInfo info = testing::example_info(term_codec_specs[numbers.below(term_codec_specs.size())].codec);
  const MatrixPart part = hostile_part(numbers);
  svd::FactorArchiveWriter writer(self(), path, info);
  writer.write(part);
  writer.finish();
}

/// Reads all that an archive has, and makes of it what inference and export make.
void use(const fs::path& path) {
  const svd::FactorArchive archive(path);
  Queue<Device::cpu> queue(1);
  for (const std::string& name : archive.matrices()) {
    const svd::MatrixEntry& entry = archive.matrix(name);
    const svd::TileGrid& grid = entry.grid;
    archive.read_tiles(name, {0, grid.size()});
    archive.read_whole_terms(name);
    archive.spectrum(name);
    // A loader has compared the sizes with those of its model before it comes here.
    if (grid.rows() > 64 || grid.cols() > 64) continue;
    svd::DenseRows dense(archive, name, queue);
    std::vector<float> rows(static_cast<std::size_t>(grid.tile_height() * grid.cols()));
    for (index_t i = 0; i < grid.tile_rows(); ++i) {
      dense.read(i, {rows.data(), grid.tile(i, 0).height, grid.cols()});
    }
    const svd::FactoredMatrix<Device::cpu> whole(archive, name, {0, grid.rows()}, {0, grid.cols()}, std::nullopt);
    const svd::FactoredMatrix<Device::cpu> rest(archive, name, {grid.rows() / 2, grid.rows()}, {0, grid.cols()},
                                                DType::f32);
    for (index_t t = 0; t < grid.size() && archive.info().compression.keeps_vectors(); ++t) {
      const svd::Tile at = grid.tile(t);
      archive.read_values(name, t, {rows.data(), at.height, at.width});
    }
  }
  if (!archive.info().compression.keeps_vectors()) return;
  const svd::SelectedFactors selected(archive, {svd::RankRule::Kind::topk, 0.5},
                                      {svd::Structure::interpolative, Codec::bf16}, 1);
  for (const std::string& name : selected.matrices()) selected.part(name, {0, selected.matrix(name).grid.size()});
}

/// What HDF5 holds open: it crashes at the program's end on some that were left.
ssize_t open_objects() { return H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL); }

std::vector<std::string> seeds() {
  std::vector<std::string> out;
  for (const Base& base : bases()) out.push_back('\0' + base.bytes);
  for (std::size_t b = 0; b < bases().size(); ++b) {
    for (char op = 0; op < 10; ++op) {
      std::string seed{'\1', static_cast<char>(b), '\0'};
      for (char field : {'\1', op, '\2', '\3', '\4', '\5', '\6', '\7'}) seed += {field, '\0'};
      out.push_back(seed);
    }
    std::string written{'\2'};
    for (int n = 0; n < 400; ++n) written += static_cast<char>((n * 37 + static_cast<int>(b) * 11) % 101);
    out.push_back(written);
  }
  return out;
}

void read(std::string_view bytes) {
  static const ScratchFile file("a.h5");
  if (bytes.empty()) return;
  Numbers numbers(bytes.substr(1));
  switch (bytes.front() % 3) {
    case 0:
      file.write(bytes.substr(1));
      break;
    case 1: {
      const Base& base = bases()[numbers.below(bases().size())];
      file.write(base.bytes);
      testing::ArchiveEditor editor(file.path());
      Edits(base, editor).make(numbers);
      break;
    }
    default:
      write_hostile(file.path(), numbers);
  }
  const ssize_t before = open_objects();
  accepts(file.path(), [] { use(file.path()); });
  if (open_objects() != before) report_finding("an archive that was read leaves objects of HDF5 open");
}

/// Edits of a sound archive, one to eight, or an archive of numbers: half of each.
std::string make(std::mt19937_64& random) {
  const bool is_edit = random() % 2 == 0;
  std::string bytes{is_edit ? '\1' : '\2'};
  const std::size_t length = is_edit ? 12 * (1 + random() % 8) : random() % 4096;
  while (bytes.size() <= length) bytes += static_cast<char>(random());
  return bytes;
}

}  // namespace

const Target& target() {
  static const Target here{"archive", seeds, read, make};
  return here;
}

}  // namespace hack::fuzz
