// A GGUF file: header, tensors, the config that it implies, and its tokenizer.

#include "model/checkpoint/gguf_checkpoint.hpp"
#include "tests/fuzz/checkpoint_use.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::fuzz {
namespace {

std::string file_of(testing::TinyModel tiny, model::GgmlType type) {
  const testing::TemporaryDirectory folder;
  tiny.layers = 1;
  testing::write_gguf(tiny, folder / "a.gguf", type);
  return testing::read_file(folder / "a.gguf");
}

std::vector<std::string> seeds() {
  testing::TinyModel narrow, wide;
  narrow.hidden = 12;
  narrow.intermediate = 5;
  narrow.heads = 2;
  narrow.kv_heads = 1;
  narrow.adds_bos = true;
  wide = narrow;
  wide.hidden = 64;
  wide.tied = wide.qk_norm = true;
  testing::GgufWriter kinds(8);
  kinds.add_text("name", "h\xc3\xa9llo");
  kinds.add_flag("on", true);
  kinds.add_integers("list", {1, -2, 3});
  kinds.add_numbers("reals", {0.5f, -1.5f});
  kinds.add_texts("words", {"a", "", "ccc"});
  kinds.add_tensor("w", {4}, model::GgmlType::f32, std::string(16, '\0'));
  return {file_of(narrow, model::GgmlType::f32), file_of(wide, model::GgmlType::q8_0),
          file_of(wide, model::GgmlType::q4_1), kinds.bytes()};
}

void read(std::string_view bytes) {
  static const ScratchFile file("a.gguf");
  file.write(bytes);
  accepts(file.path(), [] {
    const model::GgufFile opened(file.path());
    for (const std::string& key : opened.keys()) opened.value_bytes(key);
    for (const auto& [name, tensor] : opened.tensors()) opened.tensor_bytes(tensor);
  });
  accepts(file.path(), [] {
    const model::Tokenizer tokenizer = model::Tokenizer::from_gguf(model::GgufFile(file.path()));
    const std::vector<int> ids = tokenizer.encode("a b <|end|> \xc3\xa9", model::AddSpecial::yes);
    tokenizer.decode(ids);
    tokenizer.ends();
  });
  accepts(file.path(), [] { use_all(model::GgufCheckpoint(file.path())); });
}

}  // namespace

const Target& target() {
  static const Target here{"gguf", seeds, read};
  return here;
}

}  // namespace hack::fuzz
