#include "io/file_digest.hpp"

#include <fstream>
#include <span>

#include "io/hash.hpp"
#include "kernels/error.hpp"

namespace hack::io {

std::string file_digest(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  validate(file.good(), "{}: cannot be read (no such file, or no permission)", path.string());
  Hash hash;
  std::string piece(std::size_t{1} << 20, '\0');
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.add(std::as_bytes(std::span(piece).first(static_cast<std::size_t>(file.gcount()))));
  }
  validate(file.eof(), "{}: cannot be read to its end", path.string());
  return hash.digits();
}

}  // namespace hack::io
