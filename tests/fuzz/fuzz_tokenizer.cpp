// tokenizer.json with its tokenizer_config.json, and a text for the tokenizer that they make.

#include "tests/fuzz/tokenizer_use.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::fuzz {
namespace {

std::string small_tokenizer(const std::string& pre_tokenizer, const std::string& added, const std::string& more) {
  return R"({"version":"1.0","added_tokens":[)" + added + R"(],"normalizer":null,"pre_tokenizer":)" + pre_tokenizer +
         R"(,"post_processor":)" + more +
         R"(,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","dropout":null,"unk_token":null,"byte_fallback":false,)"
         R"("ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"c":4,"Ġa":5},"merges":["a b",["Ġ","a"]]}})";
}

std::vector<std::string> seeds() {
  const testing::TemporaryDirectory folder;
  testing::TinyModel tiny;
  tiny.layers = 1;
  tiny.adds_bos = true;
  testing::write_hf(tiny, folder.path());
  const std::string text = "a b ab, <|end|> caf\xc3\xa9 12345\n\n  \xf0\x9f\x98\x80";
  const std::string byte_level = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
  const std::string split =
      R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Split",)"
      R"("pattern":{"Regex":"\\s+(?!\\S)|[a-z]{1,3}|\\p{L}+"},"behavior":"Isolated","invert":false},)"
      R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})";
  const std::string added =
      R"({"id":6,"content":"<s>","single_word":false,"lstrip":true,"rstrip":true,"normalized":false,)"
      R"("special":true},{"id":7,"content":"b c","normalized":true,"special":false})";
  const std::string post =
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},)"
      R"({"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[6],"tokens":["<s>"]}}})";
  const std::string config =
      R"({"bos_token":"<s>","eos_token":{"content":"<s>"},"chat_template":[{"name":"default","template":"x"}]})";
  return {joined({testing::read_file(folder / "tokenizer.json"), testing::read_file(folder / "tokenizer_config.json"),
                  text}),
          joined({small_tokenizer(byte_level, added, post), config, text}),
          joined({small_tokenizer(split, added, "null"), "{}", text}),
          joined({small_tokenizer(byte_level, "", R"({"type":"Sequence","processors":[{"type":"ByteLevel"}]})"), "",
                  "abab"})};
}

void read(std::string_view bytes) {
  static const ScratchFile file("tokenizer.json"), config("tokenizer_config.json");
  const std::vector<std::string_view> sections = sections_of(bytes, 3);
  file.write(sections[0]);
  write_or_remove(config, sections[1]);
  accepts(scratch_folder(), [&] { use_all(model::Tokenizer::from_json(file.path()), sections[2], file.path()); });
}

}  // namespace

const Target& target() {
  static const Target here{"tokenizer", seeds, read};
  return here;
}

}  // namespace hack::fuzz
