#include "tests/support/example_archive.hpp"

#include <algorithm>

#include "kernels/row_marks.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/tile/encoded_term.hpp"

namespace hack::testing {

using namespace svd;

namespace {

float scale_of(const Tile& tile, std::size_t array, index_t n) {
  return 0.25f * static_cast<float>((tile.i + 2 * tile.j + static_cast<index_t>(array) + n) % 8);
}

}  // namespace

ArchiveInfo example_info(Codec type) {
  ArchiveInfo info;
  info.header = {"1.2.3", "fingerprint", R"({"layers": 2})", "plain", ""};
  info.compression = {TileMode::tile, 4, {RankRule::Kind::tolerance, 0.25}, type, Structure::interpolative};
  return info;
}

TileChoice choice_of(const Tile& tile, Example example) {
  Structure kinds[] = {Structure::low_rank, Structure::interpolative, Structure::dense};
  if (example == Example::without_skeleton) kinds[1] = Structure::low_rank;
  if (example == Example::without_spectra) kinds[0] = Structure::interpolative;
  const auto k = static_cast<std::int32_t>((tile.i * 5 + tile.j * 3) % (tile.full_rank() + 1));
  return {kinds[(tile.i + tile.j) % 3], k, 100.0 + static_cast<double>(tile.i), 0.5 * k};
}

std::vector<index_t> skeleton_of(const Tile& tile, const TileChoice& choice) {
  std::vector<index_t> rows;
  if (choice.kind != Structure::interpolative) return rows;
  for (index_t r = 0; r < tile.height; ++r) {
    if ((r + tile.i + tile.j) % tile.height < choice.rank) rows.push_back(r);
  }
  return rows;
}

float sigma_of(const Tile& tile, index_t k) { return 200.0f - static_cast<float>(tile.i + tile.j + 2 * k); }

StoredTerm example_term(const Tile& tile, const TileChoice& choice, Codec codec) {
  StoredTerm term{choice.kind, codec, choice.rank, tile.height, tile.width, {}};
  const TermArrays arrays(term.structure, codec, tile.height, tile.width, term.rank);
  EncodedTerm encoded(arrays);
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    const index_t count = arrays[a].rows * arrays[a].cols;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (index_t n = 0; n < count; ++n) {
      values[n] = static_cast<float>((tile.i * 64 + tile.j * 16 + static_cast<index_t>(a) * 7 + n) % 251);
      if (term.structure == Structure::low_rank && a == 2) values[n] = sigma_of(tile, n);
    }
    if (!arrays[a].codec) {
      for (const index_t row : skeleton_of(tile, choice)) {
        if (arrays[a].rows > 0) kernels::mark(reinterpret_cast<std::uint8_t*>(encoded.codes(a)), row);
      }
    } else if (has_scales(*arrays[a].codec)) {
      for (index_t n = 0; n < arrays[a].code_bytes(); ++n) {
        const index_t number = tile.i * 64 + tile.j * 16 + static_cast<index_t>(a) * 7 + n;
        encoded.codes(a)[n] = static_cast<std::byte>(number % 251 - 125);
      }
      const DType type = spec_of(codec).scale_type;
      for (index_t n = 0; n < arrays[a].scale_bytes() / size_of(type); ++n) {
        const float scale = scale_of(tile, a, n);
        convert(&scale, DType::f32, encoded.scales(a) + n * size_of(type), type, 1);
      }
    } else {
      convert(values.data(), DType::f32, encoded.codes(a), plain_type(*arrays[a].codec), count);
    }
  }
  encoded.append_to(term.bytes);
  return term;
}

bool has_second_term(const Tile& tile) { return (tile.i * 3 + tile.j) % 4 == 1; }
TileChoice second_choice(const Tile& tile) {
  return {Structure::low_rank, static_cast<std::int32_t>(std::min<index_t>(2, tile.full_rank())), 0, 0};
}
Tile whole(const TileGrid& grid) { return {0, 0, 0, 0, grid.rows(), grid.cols()}; }

MatrixPart example_part(const comm::Communicator& comm, const std::string& name, const TileGrid& grid, Codec codec,
                        Example example) {
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
    part.append(example_term(tile, choice, codec), t);
    if (example == Example::sums && has_second_term(tile)) {
      part.append(example_term(tile, second_choice(tile), Codec::bf16), t);
    }
  }
  // The one tile of a matrix is the whole matrix: its terms are the tile's.
  if (example == Example::sums && grid.size() > 1 && comm.rank() + 1 == comm.size()) {
    part.append(example_term(whole(grid), second_choice(whole(grid)), Codec::int8), TermEntry::whole_matrix);
  }
  return part;
}

void write_example(const comm::Communicator& comm, const std::filesystem::path& path, Codec type, Example example) {
  FactorArchiveWriter writer(comm, path, example_info(type));
  writer.write(example_part(comm, "b.up", TileGrid(9, 14, 4, 4), type, example));
  writer.write(example_part(comm, "a.down", TileGrid(14, 9, 4, 4), type, example));
  writer.write(example_part(comm, "c.tall", TileGrid(33, 30, 20, 20), type, example));
  writer.write(example_part(comm, "single", TileGrid(3, 5, 3, 5), type, example));
  writer.finish();
}

}  // namespace hack::testing
