#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/codec.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/storage.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// What is factorized: tiles, or whole matrices (one tile each).
enum class TileMode : std::uint8_t { tile, full };

constexpr std::string_view to_string(TileMode mode) { return mode == TileMode::tile ? "tile" : "full"; }

/// Reads "tile" or "full"; anything else is an Error.
TileMode parse_tile_mode(std::string_view name);

/// What tiles of low rank are stored as, in options and reports: "interpolative", or "factors" for two factors.
std::string_view storage_name(Structure storage);

/// Reads either name, or "pivoted", an older word for interpolative; anything else is an Error.
Structure parse_storage(std::string_view name);

/// Sizes of tiles that are not clipped; what is larger than a matrix is cut to it.
struct TileShape {
  index_t height = 128;
  index_t width = 128;

  TileShape() = default;
  /// Square tiles.
  TileShape(index_t size) : height(size), width(size) {}
  TileShape(index_t h, index_t w) : height(h), width(w) {}

  bool operator==(const TileShape&) const = default;
};

/// "128" of square tiles, else "128x64": height, then width.
std::string to_string(const TileShape& shape);

/// Reads either; anything else, or a size below 1, is an Error.
TileShape parse_tile_shape(std::string_view text);

/// How matrices become stored tiles.
struct CompressOptions {
  TileMode mode = TileMode::tile;
  TileShape tile;  ///< unused in mode full
  RankRule rule;
  Codec codec = Codec::bf16;
  Structure storage = Structure::interpolative;  ///< of tiles of low rank
  DType values_type = DType::f32;  ///< that holds the matrices exactly; of archives that keep vectors alone

  double fast_share = 1;  ///< as of TileFormat

  TileFormat format(index_t align = 1) const { return {storage, codec, align, fast_share}; }
  /// Whether tiles are kept as vectors and original values, for ranks to be chosen later.
  bool keeps_vectors() const { return rule.kind == RankRule::Kind::max_rank; }
  TileGrid grid(index_t rows, index_t cols) const {
    return mode == TileMode::full ? TileGrid(rows, cols, rows, cols) : TileGrid(rows, cols, tile.height, tile.width);
  }
};

/// Where an archive comes from. The archive stores these texts and does not look into them.
struct ArchiveHeader {
  std::string program_version;
  std::string model_fingerprint;
  std::string model;    ///< the model's config, JSON
  std::string method;   ///< "plain", …
  std::string options;  ///< every option of the run, JSON
};

/// What an archive says of itself.
struct ArchiveInfo {
  ArchiveHeader header;
  CompressOptions compression;
};

/// First attribute of every archive, and the layout that this program writes and reads.
constexpr const char* archive_format = "hack-factors";
constexpr std::int64_t archive_format_version = 4;

}  // namespace hack::svd
