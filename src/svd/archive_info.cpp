#include "svd/archive_info.hpp"

#include "kernels/error.hpp"

namespace hack::svd {

TileMode parse_tile_mode(std::string_view name) {
  for (TileMode mode : {TileMode::tile, TileMode::full}) {
    if (name == to_string(mode)) return mode;
  }
  fail("unknown mode '{}' (known: tile, full)", name);
}

}  // namespace hack::svd
