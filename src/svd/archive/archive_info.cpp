#include "svd/archive/archive_info.hpp"

#include <charconv>

#include "kernels/error.hpp"

namespace hack::svd {

TileMode parse_tile_mode(std::string_view name) {
  for (TileMode mode : {TileMode::tile, TileMode::full}) {
    if (name == to_string(mode)) return mode;
  }
  fail("unknown mode '{}' (known: tile, full)", name);
}

std::string to_string(const TileShape& shape) {
  return shape.height == shape.width ? fmt::format("{}", shape.height)
                                     : fmt::format("{}x{}", shape.height, shape.width);
}

TileShape parse_tile_shape(std::string_view text) {
  const auto size_of = [&](std::string_view part) {
    index_t size = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), size);
    validate(error == std::errc() && end == part.data() + part.size() && size >= 1,
             "'{}' is no size of tiles (use a number, or height and width as in 128x512)", text);
    return size;
  };
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos) return size_of(text);
  return {size_of(text.substr(0, cross)), size_of(text.substr(cross + 1))};
}

std::string_view storage_name(Structure storage) {
  return storage == Structure::low_rank ? "factors" : to_string(storage);
}

Structure parse_storage(std::string_view name) {
  if (name == "pivoted") return Structure::interpolative;  // its word up to version 0.1
  for (Structure storage : {Structure::interpolative, Structure::low_rank}) {
    if (name == storage_name(storage)) return storage;
  }
  fail("unknown storage '{}' (known: interpolative, factors)", name);
}

}  // namespace hack::svd
