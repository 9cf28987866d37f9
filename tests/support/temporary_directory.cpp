#include "tests/support/temporary_directory.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include "kernels/error.hpp"

namespace hack::testing {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "hack-test-XXXXXX").string();
  validate(::mkdtemp(name.data()) != nullptr, "cannot make a folder like {}", name);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  validate(!file.fail(), "cannot write {}", path.string());
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  validate(file.good(), "cannot read {}", path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace hack::testing
