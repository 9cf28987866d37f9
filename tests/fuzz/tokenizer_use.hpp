#pragma once

#include "model/tokenizer/tokenizer.hpp"
#include "tests/fuzz/fuzz_target.hpp"

namespace hack::fuzz {

/// Makes the file of these bytes; of none, no file.
inline void write_or_remove(const ScratchFile& file, std::string_view bytes) {
  if (bytes.empty()) {
    std::filesystem::remove(file.path());
  } else {
    file.write(bytes);
  }
}

/// Turns a text into ids and back. An Error names the tokenizer's file, or says that the text is not UTF-8.
inline void use_all(const model::Tokenizer& tokenizer, std::string_view text, const std::filesystem::path& path) {
  try {
    tokenizer.decode(tokenizer.encode(text, model::AddSpecial::yes));
  } catch (const Error& error) {
    const std::string_view problem = error.what();
    const bool is_known = problem.find("UTF-8") != problem.npos || problem.find(path.string()) != problem.npos;
    if (!is_known) report_finding(error.what());
  }
  tokenizer.ends();
}

}  // namespace hack::fuzz
