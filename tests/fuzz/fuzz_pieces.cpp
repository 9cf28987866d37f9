// tokenizer.model, SentencePiece's file, with the tokenizer_config.json beside it, and a text for the tokenizer that
// they make.

#include "tests/fuzz/tokenizer_use.hpp"

namespace hack::fuzz {
namespace {

std::string varint(std::uint64_t x) {
  std::string out;
  for (; x >= 0x80; x >>= 7) out += static_cast<char>(x | 0x80);
  return out + static_cast<char>(x);
}

/// Fields of a protocol buffer.
std::string field(unsigned number, int value) {
  return varint(number << 3) + varint(static_cast<std::uint64_t>(static_cast<std::int64_t>(value)));
}
std::string field(unsigned number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string field(unsigned number, float value) {
  std::string out = varint(number << 3 | 5) + std::string(4, '\0');
  std::memcpy(out.data() + out.size() - 4, &value, 4);
  return out;
}

std::string piece(const std::string& text, float score, int type) {
  return field(1, field(1, text) + field(2, score) + field(3, type));
}

std::string model_file(int kind, const std::string& ids, const std::string& normalizer) {
  std::string out = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
  for (int byte = 0; byte < 256; ++byte) {
    constexpr char digits[] = "0123456789ABCDEF";
    out += piece(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, 6);
  }
  float score = 0;
  for (const char* text :
       {"\xe2\x96\x81", "a", "b", "c", "ab", "\xe2\x96\x81\x61", "abc", "\xe2\x96\x81the", "t", "h"}) {
    out += piece(text, score -= 1, 1);
  }
  out += piece("<|im_end|>", 0, 4);
  return out + field(2, field(3, kind) + field(35, 1) + ids) + field(3, normalizer);
}

std::vector<std::string> seeds() {
  const std::string text = "a b ab, <s> the abc caf\xc3\xa9 \xf0\x9f\x98\x80<|im_end|>";
  const std::string spaces = field(3, 1) + field(4, 0) + field(5, 1);
  const std::string config = R"({"legacy":false,"add_eos_token":true,"eos_token":"</s>",)"
                             R"("added_tokens_decoder":{"280":{"content":"<|x|>","special":true}}})";
  return {joined({text, config, model_file(2, "", spaces)}),
          joined({text, "", model_file(2, field(40, 0) + field(41, -1) + field(42, 2), spaces)}),
          joined({text, "{}", model_file(1, "", spaces)}),
          joined({"aaa", "", model_file(2, field(41, 5000), field(2, std::string("map")) + field(4, 1))}),
          joined({"", "", field(1, field(1, std::string("a")))})};
}

void read(std::string_view bytes) {
  static const ScratchFile file("tokenizer.model"), config("tokenizer_config.json");
  const std::vector<std::string_view> sections = sections_of(bytes, 3);
  file.write(sections[2]);
  write_or_remove(config, sections[1]);
  accepts(scratch_folder(), [&] { use_all(model::Tokenizer::from_model(file.path()), sections[0], file.path()); });
}

}  // namespace

const Target& target() {
  static const Target here{"pieces", seeds, read};
  return here;
}

}  // namespace hack::fuzz
