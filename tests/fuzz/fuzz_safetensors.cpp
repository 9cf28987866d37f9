// The header of a safetensors file, and the tensors that it lists.

#include "model/checkpoint/safetensors_file.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::fuzz {
namespace {

std::string file_of(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + std::string(data, '\1');
}

std::vector<std::string> seeds() {
  const testing::TemporaryDirectory folder;
  testing::TinyModel tiny;
  tiny.hidden = 12;
  tiny.intermediate = 5;
  tiny.layers = 1;
  testing::write_hf(tiny, folder.path());
  return {
      testing::read_file(folder / "model.safetensors"),
      file_of(R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
              R"("v":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
              R"("n":{"dtype":"F8_E4M3","shape":[],"data_offsets":[32,33]}}  )",
              33),
      file_of(
          R"({"a":{"dtype":"F16","shape":[0,4],"data_offsets":[0,0]},"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})",
          8),
      file_of("{}", 0),
      file_of(std::string(2000, '['), 0),
      file_of(std::string(500, '{') + "\"a\":", 0)};
}

void read(std::string_view bytes) {
  static const ScratchFile file("a.safetensors");
  file.write(bytes);
  accepts(file.path(), [] {
    const model::SafetensorsFile opened(file.path());
    for (const auto& [name, entry] : opened.entries()) {
      const auto range = opened.file().bytes(entry.offset, entry.bytes);
      if (!range.empty() && range.back() == std::byte{0xfe} && opened.find(name) != &entry) report_finding(name);
    }
  });
}

}  // namespace

const Target& target() {
  static const Target here{"safetensors", seeds, read};
  return here;
}

}  // namespace hack::fuzz
