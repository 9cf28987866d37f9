#include "io/replace_file.hpp"

#include <fstream>

#include "io/temporary_file.hpp"
#include "kernels/error.hpp"

namespace hack::io {

void replace_file(const std::filesystem::path& path, const std::string& text) {
  TemporaryFile file(path);
  {
    std::ofstream out(file.path(), std::ios::binary);
    out << text;
    out.flush();
    validate(out.good(), "cannot write {} (is the disk full?)", file.path().string());
  }
  file.rename_to_final();
}

}  // namespace hack::io
