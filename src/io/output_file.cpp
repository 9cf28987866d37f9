#include "io/output_file.hpp"

namespace hack::io {

OutputFile::OutputFile(const std::filesystem::path& path)
    : temporary_(path),
      file_(temporary_.path(), DurableFile::Begin::empty, "free space there, or name another place") {}

void OutputFile::write(std::span<const std::byte> bytes) {
  file_.write(bytes);
  size_ += bytes.size();
}

void OutputFile::finish() {
  file_.flush();
  temporary_.rename_to_final();
}

}  // namespace hack::io
