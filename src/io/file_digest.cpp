#include "io/file_digest.hpp"

#include <algorithm>
#include <fstream>

#include "io/hash.hpp"
#include "kernels/error.hpp"

namespace hack::io {

std::string file_digest(const std::filesystem::path& path) {
  constexpr index_t pieces = 256;
  constexpr index_t piece_size = 4096;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<index_t>(file.tellg());
  validate(file.good(), "{}: cannot be read (no such file, or no permission)", path.string());
  Hash hash;
  hash.add(size);
  const index_t length = std::min(piece_size, size);
  const index_t last = size - length;  // where the last piece begins
  std::string piece(static_cast<std::size_t>(length), '\0');
  index_t before = -1;
  for (index_t i = 0; i < pieces; ++i) {
    const index_t begin = last / (pieces - 1) * i + last % (pieces - 1) * i / (pieces - 1);
    if (begin == before) continue;
    before = begin;
    file.seekg(begin);
    file.read(piece.data(), length);
    validate(file.good(), "{}: cannot be read at byte {}", path.string(), begin);
    hash.add(std::as_bytes(std::span(piece)));
  }
  return hash.digits();
}

}  // namespace hack::io
