#include "jobs/session/near_miss.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/core.h>

namespace hack::jobs {
namespace {

/// Without case, and with one kind of dash.
std::string plain(const std::string& word) {
  std::string out;
  for (const char c : word) {
    out += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

/// Damerau's distance, with neighbours swapped at most once (optimal string alignment; Boytsov, Indexing methods for
/// approximate dictionary searching, 2011).
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool is_same = a[i - 1] == b[j - 1];
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (is_same ? 0 : 1)});
      const bool is_swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string did_you_mean(const std::string& typed, const std::vector<std::string>& known) {
  constexpr std::size_t longest = 64;  // no word of the program is as long
  if (typed.size() > longest) return {};
  const std::string word = plain(typed);
  const std::string* nearest = nullptr;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t changes = distance(word, plain(candidate));
    if (changes >= least) continue;
    least = changes;
    nearest = &candidate;
  }
  return nearest == nullptr ? std::string() : fmt::format("; did you mean {}?", *nearest);
}

std::string shortened(const std::string& text) {
  constexpr std::size_t most = 60;
  std::string shown = text.substr(0, most);
  // A zero byte would end the message, other control characters command the terminal.
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text.size() <= most ? shown : shown + "…";
}

}  // namespace hack::jobs
