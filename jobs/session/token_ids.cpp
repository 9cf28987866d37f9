#include "jobs/session/token_ids.hpp"

#include <algorithm>
#include <charconv>

#include "jobs/session/near_miss.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {

std::vector<int> parse_ids(const std::string& text) {
  std::vector<int> ids;
  constexpr const char* space = " \t\r\n";
  for (std::size_t begin = text.find_first_not_of(space); begin != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(space, begin), text.size());
    int id = 0;
    const auto [stop, code] = std::from_chars(text.data() + begin, text.data() + end, id);
    validate(code == std::errc() && stop == text.data() + end, "'{}' is no token id (--decode reads one id a line)",
             shortened(text.substr(begin, end - begin)));
    ids.push_back(id);
    begin = text.find_first_not_of(space, end);
  }
  return ids;
}

std::vector<int> spread_ids(index_t n, svd::Range vocabulary) {
  std::vector<int> ids;
  for (index_t i = 0; i < n; ++i) ids.push_back(static_cast<int>(vocabulary.begin + i * 7919 % vocabulary.size()));
  return ids;
}

}  // namespace hack::jobs
