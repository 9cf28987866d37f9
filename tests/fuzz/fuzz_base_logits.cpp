// Files of base logits: the header, the tokens and every row.

#include "model/evaluate/base_logits_file.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::fuzz {
namespace {

std::string written(index_t context, index_t vocabulary, index_t chunks) {
  const std::filesystem::path path = scratch_folder() / "seed.kld";
  std::vector<int> tokens;
  for (index_t t = 0; t < context * chunks; ++t) tokens.push_back(static_cast<int>(t % vocabulary));
  model::BaseLogitsWriter writer(path, context, vocabulary, tokens);
  std::vector<float> rows(static_cast<std::size_t>(model::base_rows(context) * model::base_row_floats(vocabulary)));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = 0.001f * static_cast<float>(i % 97);
  for (index_t chunk = 0; chunk < chunks; ++chunk) writer.add(chunk, rows);
  writer.finish();
  return testing::read_file(path);
}

std::vector<std::string> seeds() {
  std::vector<std::string> out = {written(8, 20, 2), written(7, 21, 1), written(2, 3, 3), "_logits_"};
  for (const std::int32_t size : {0, -1, INT32_MAX, 1 << 16}) {
    std::string header = "_logits_";
    for (int n = 0; n < 3; ++n) header.append(reinterpret_cast<const char*>(&size), sizeof(size));
    out.push_back(header);
  }
  return out;
}

void read(std::string_view bytes) {
  static const ScratchFile file("base.kld");
  file.write(bytes);
  accepts(file.path(), [] {
    const model::BaseLogitsFile base(file.path());
    index_t sum = 0;
    for (const std::int32_t token : base.tokens()) {
      if (token < 0 || token >= base.vocabulary()) report_finding("a token that the vocabulary has not");
    }
    for (index_t chunk = 0; chunk < base.chunks(); ++chunk) {
      for (index_t row = 0; row < model::base_rows(base.context()); ++row) {
        const model::BaseRow of = base.row(chunk, row);
        for (const std::uint16_t code : of.codes) sum += code;
        of.log_probability(base.vocabulary() - 1);
      }
    }
    if (sum < 0) report_finding("a sum of codes below zero");
  });
}

}  // namespace

const Target& target() {
  static const Target here{"base_logits", seeds, read};
  return here;
}

}  // namespace hack::fuzz
