// Texts, ids to decode, and a stream of tokens with stop texts, for a tokenizer that is sound.

#include "jobs/session/token_ids.hpp"
#include "model/tokenizer/text_stream.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::fuzz {
namespace {

const model::Tokenizer& tokenizer() {
  static const model::Tokenizer opened = [] {
    testing::TinyModel tiny;
    tiny.layers = 1;
    tiny.adds_bos = true;
    testing::write_hf(tiny, scratch_folder() / "model");
    return model::Tokenizer::from_json(scratch_folder() / "model/tokenizer.json");
  }();
  return opened;
}

std::vector<std::string> seeds() {
  return {"A text.\n<|end|>\tcaf\xc3\xa9 1234 \xf0\x9f\x98\x80 \xe2\x80\x8b",
          "caf\xe9",
          "0 1 2\n262\r\n17 255",
          "-1 99999999999999999999",
          "\xff\xfe\0a",
          std::string(3000, ' ') + "x",
          "\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\x80"};
}

void read(std::string_view bytes) {
  std::vector<int> ids;
  try {
    ids = tokenizer().encode(bytes, model::AddSpecial::no);
    // Every byte has a token: nothing of a text may be lost.
    if (tokenizer().decode(ids) != bytes) report_finding("the ids of a text stand for another text");
    note_outcome("accepted");
  } catch (const Error& error) {
    note_outcome(error.what());
    if (std::string_view(error.what()).find("UTF-8") == std::string_view::npos) report_finding(error.what());
  }
  try {
    tokenizer().decode(jobs::parse_ids(std::string(bytes)));
    note_outcome("accepted");
  } catch (const Error& error) {
    note_outcome(error.what());
    if (std::string_view(error.what()).find("token id") == std::string_view::npos) report_finding(error.what());
  }
  model::TextStream stream({"\n\n", "<|end|>", std::string(bytes.substr(0, 3)) + "x"});
  for (std::size_t at = 0; at < bytes.size(); at += 3) stream.add(bytes.substr(at, 3));
  stream.finish();
}

}  // namespace

const Target& target() {
  static const Target here{"text", seeds, read};
  return here;
}

}  // namespace hack::fuzz
