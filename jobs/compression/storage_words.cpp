#include "jobs/compression/storage_words.hpp"

#include <vector>

#include <fmt/core.h>

#include "jobs/session/near_miss.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/codec.hpp"

namespace hack::jobs {

std::string current_storage_word(std::string_view word) {
  return std::string(word == "pivoted" ? "interpolative" : word);
}

CLI::Validator storage_words() {
  const std::string known = "{interpolative,factors}";
  return CLI::Validator(
      [known](std::string& word) {
        word = current_storage_word(word);
        const bool is_known = word == "interpolative" || word == "factors";
        return is_known ? std::string()
                        : fmt::format("'{}' is not one of interpolative, factors{}", shortened(word),
                                      did_you_mean(word, {"interpolative", "factors"}));
      },
      known);
}

CLI::Validator codec_words() {
  std::vector<std::string> names;
  for (const CodecSpec& spec : term_codec_specs) names.emplace_back(spec.name);
  return one_of(names);
}

}  // namespace hack::jobs
