#include "svd/archive_info.hpp"

#include "kernels/error.hpp"

namespace hack::svd {

TileMode parse_tile_mode(std::string_view name) {
  for (TileMode mode : {TileMode::tile, TileMode::full}) {
    if (name == to_string(mode)) return mode;
  }
  fail("unknown mode '{}' (known: tile, full)", name);
}

Storage parse_storage(std::string_view name) {
  for (Storage storage : {Storage::pivoted, Storage::factors}) {
    if (name == to_string(storage)) return storage;
  }
  fail("unknown storage '{}' (known: pivoted, factors)", name);
}

}  // namespace hack::svd
