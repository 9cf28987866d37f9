#include "svd/archive/selected_factors.hpp"

#include <algorithm>

#include "kernels/buffer.hpp"
#include "kernels/error.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/pipeline/collective_try.hpp"
#include "svd/tile/tile_encoder.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;
using kernels::TileSvd;

/// Tiles that are sliced at once by each thread: bounds what kept vectors take.
constexpr index_t tiles_a_thread = 32;

bool keeps_values(const TileChoice& choice, const Tile& at) {
  return choice.kind == Structure::dense && choice.rank == at.full_rank();
}

/// Factors of a tile whose vectors are kept, in f32.
struct KeptVectors {
  explicit KeptVectors(const StoredTerm& term)
      : u(term.left().rows * term.left().cols), vt(term.right().rows * term.right().cols), sigma(term.sigma()) {
    term.left().widen_to(u.data());
    term.right().widen_to(vt.data());
  }

  Buffer<float> u;           // (h, R)
  Buffer<float> vt;          // (R, w)
  std::vector<float> sigma;  // (R)
};

}  // namespace

SelectedFactors::SelectedFactors(const FactorArchive& vectors, const RankRule& rule, const TileFormat& format,
                                 int threads)
    : vectors_(vectors), info_(vectors.info()), queue_(threads) {
  check_rank_rule(rule);
  const CompressOptions& made = vectors.info().compression;
  if (!made.keeps_vectors()) {
    throw RankError(
        fmt::format("{}: its factors were made for the ranks they have (method {}, {} {}), no others can be chosen",
                    vectors.path().string(), vectors.info().header.method, to_string(made.rule.kind), made.rule.value),
        0);
  }
  info_.compression.rule = rule;
  info_.compression.codec = format.type;
  info_.compression.storage = format.storage;
  info_.compression.fast_share = format.fast_share;
  info_.compression.values_type = DType::f32;
  for (const std::string& name : vectors.matrices()) selections_.emplace(name, select(name));
}

SelectedFactors::Selection SelectedFactors::select(const std::string& name) const {
  const MatrixEntry& kept = vectors_.matrix(name);
  const TileGrid& grid = kept.grid;
  const std::vector<float> sigmas = vectors_.spectrum(name);  // (I, J, r)
  std::vector<TileSpectrum> spectra;
  for (index_t t = 0; t < grid.size(); ++t) {
    const Tile at = grid.tile(t);
    const auto first = static_cast<std::size_t>(t * kept.spectrum_length);
    spectra.push_back(
        {at.height, at.width, std::span(sigmas).subspan(first, static_cast<std::size_t>(at.full_rank()))});
  }
  const CompressOptions& how = info_.compression;
  Selection made{{.grid = grid}, choose_ranks(how.rule, spectra, how.format())};
  check_ranks(name, made.choices);
  for (const TileChoice& choice : made.choices) {
    made.table.terms.push_back({std::ssize(made.table.terms), choice.kind, how.codec, choice.rank});
    made.table.energies.push_back(choice.energy);
    made.table.discarded.push_back(choice.discarded);
  }
  made.table.index_terms();
  const CompressionSummary summary = summarize(name, grid, made.choices, how.codec);
  made.table.bytes_factors = summary.bytes_factors;
  made.table.bytes_dense = summary.bytes_dense;
  return made;
}

void SelectedFactors::check_ranks(const std::string& name, const std::vector<TileChoice>& choices) const {
  const MatrixEntry& kept = vectors_.matrix(name);
  index_t highest = 0, keeps = 0;
  for (std::size_t t = 0; t < choices.size(); ++t) {
    const bool is_short = choices[t].rank > kept.rank(static_cast<index_t>(t)) &&
                          !keeps_values(choices[t], kept.grid.tile(static_cast<index_t>(t)));
    if (!is_short || choices[t].rank <= highest) continue;
    highest = choices[t].rank;
    keeps = kept.rank(static_cast<index_t>(t));
  }
  if (highest == 0) return;
  const RankRule& rule = info_.compression.rule;
  throw RankError(fmt::format("{}: {} {} takes {} singular values of a tile of {}, of which only {} are kept",
                              vectors_.path().string(), to_string(rule.kind), rule.value, highest, name, keeps),
                  highest);
}

const SelectedFactors::Selection& SelectedFactors::selection(std::string_view name) const {
  const auto found = selections_.find(name);
  validate(found != selections_.end(), "{}: there is no matrix '{}' in this archive", vectors_.path().string(), name);
  return found->second;
}

CompressionSummary SelectedFactors::summary(std::string_view name) const {
  const Selection& of = selection(name);
  return summarize(std::string(name), of.table.grid, of.choices, info_.compression.codec);
}

MatrixPart SelectedFactors::part(std::string_view name, Range tiles) const {
  MatrixPart part{.name = std::string(name), .grid = selection(name).table.grid, .first_tile = tiles.begin};
  const index_t step = tiles_a_thread * queue_.threads();
  for (index_t first = tiles.begin; first < tiles.end; first += step) {
    try {
      append_slices(part, {first, std::min(first + step, tiles.end)});
    } catch (const Error& error) {  // of the tiles' numbers, which came from the file
      const std::string path = vectors_.path().string();
      if (std::string_view(error.what()).starts_with(path)) throw;
      fail("{}: {}", path, error.what());
    }
  }
  return part;
}

/// Appends tiles with these numbers, all at once.
void SelectedFactors::append_slices(MatrixPart& part, Range tiles) const {
  const MatrixEntry& kept = vectors_.matrix(part.name);
  const std::vector<float> spectra = vectors_.spectrum(part.name, tiles);  // (tiles, r)
  std::vector<KeptVectors> stored;
  for (const StoredTile& tile : vectors_.read_tiles(part.name, tiles)) stored.emplace_back(tile.terms.front());
  const Selection& of = selection(part.name);
  std::vector<Buffer<float>> values(stored.size());  // (h, w) of dense tiles
  std::vector<TileNumbers> numbers;
  std::vector<TileChoice> choices;
  std::vector<TileSvd<Device::cpu>> truncated;  // of those dense tiles that are products
  std::vector<index_t> ranks;
  std::vector<MatrixView<float>> products;
  for (index_t t = tiles.begin; t < tiles.end; ++t) {
    const auto local = static_cast<std::size_t>(t - tiles.begin);
    const Tile at = kept.grid.tile(t);
    const TileChoice& choice = of.choices[static_cast<std::size_t>(t)];
    KeptVectors& tile = stored[local];
    const index_t kept_rank = kept.rank(t);
    const auto r = static_cast<std::size_t>(at.full_rank());
    const TileSvd<Device::cpu> svd{
        {tile.u.data(), at.height, kept_rank}, tile.sigma.data(), {tile.vt.data(), kept_rank, at.width}};
    if (choice.kind == Structure::dense) values[local] = Buffer<float>(at.height * at.width);
    const MatrixView<float> dense(values[local].data(), at.height, at.width);
    if (keeps_values(choice, at)) {
      vectors_.read_values(part.name, t, dense);
    } else if (choice.kind == Structure::dense) {
      truncated.push_back(svd);
      ranks.push_back(choice.rank);
      products.push_back(dense);
    }
    choices.push_back(choice);
    numbers.push_back({dense, svd.u, svd.sigma, svd.vt,
                       std::span(spectra).subspan(local * static_cast<std::size_t>(kept.spectrum_length), r)});
  }
  kernels::tile_product<Device::cpu>(queue_, truncated, ranks, products);
  append_tiles(queue_, part, choices, numbers, info_.compression.codec);
}

std::vector<StoredTile> SelectedFactors::read_tiles(std::string_view name, index_t i, index_t first_col,
                                                    index_t last_col) const {
  const index_t J = matrix(name).grid.tile_cols();
  return part(name, {i * J + first_col, i * J + last_col}).stored_tiles();
}

void write_selection(const comm::Communicator& comm, const SelectedFactors& factors,
                     const std::vector<std::string>& names, const ArchiveHeader& header,
                     const std::filesystem::path& output) {
  FactorArchiveWriter writer(comm, output, {header, factors.info().compression});
  for (const std::string& name : names) {
    const Range own = even_part(factors.matrix(name).grid.size(), comm.size(), comm.rank());
    MatrixPart part{.grid = factors.matrix(name).grid};
    collective_try(comm, [&] { part = factors.part(name, own); });
    writer.write(part);
  }
  writer.finish();
}

}  // namespace hack::svd
