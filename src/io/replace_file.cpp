#include "io/replace_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "io/temporary_file.hpp"
#include "kernels/error.hpp"

namespace hack::io {
namespace {

void write(const std::filesystem::path& path, const std::string& text, std::ios::openmode mode) {
  std::ofstream out(path, std::ios::binary | mode);
  out << text;
  out.flush();
  validate(out.good(), "cannot write {} ({}); is the disk full?", path.string(), std::strerror(errno));
}

}  // namespace

void replace_file(const std::filesystem::path& path, const std::string& text) {
  if (is_stream(path)) return write(path, text, std::ios::app);
  TemporaryFile file(path);
  write(file.path(), text, std::ios::trunc);
  file.rename_to_final();
}

void check_replaceable(const std::filesystem::path& path) {
  if (!is_stream(path)) {
    place_of(path);
    return;
  }
  validate(access(path.c_str(), W_OK) == 0, "cannot write {} ({})", path.string(), std::strerror(errno));
}

}  // namespace hack::io
