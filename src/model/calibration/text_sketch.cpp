#include "model/calibration/text_sketch.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>

#include <fmt/core.h>

#include "io/digest.hpp"

namespace hack::model {
namespace {

constexpr std::size_t digits_of_hash = 16;

/// Calls visit(hash) for every run of the tokens.
template <class Visit>
void for_each_run(std::span<const int> ids, Visit visit) {
  constexpr auto length = static_cast<std::size_t>(TextSketch::run_tokens);
  for (std::size_t i = 0; i + length <= ids.size(); ++i) visit(io::digest64(std::as_bytes(ids.subspan(i, length))));
}

}  // namespace

TextSketch::TextSketch(std::span<const int> ids, std::ptrdiff_t window) {
  std::set<std::uint64_t> smallest;
  for (std::size_t begin = 0; begin < ids.size(); begin += static_cast<std::size_t>(window)) {
    for_each_run(ids.subspan(begin, std::min(ids.size() - begin, static_cast<std::size_t>(window))),
                 [&](std::uint64_t hash) {
                   smallest.insert(hash);
                   if (smallest.size() > size) smallest.erase(std::prev(smallest.end()));
                 });
  }
  hashes_.assign(smallest.begin(), smallest.end());
  is_whole_ = hashes_.size() < size;
}

TextSketch TextSketch::from_digits(const std::string& digits) {
  TextSketch sketch;
  if (digits.size() % digits_of_hash != 0) return sketch;
  for (std::size_t at = 0; at < digits.size(); at += digits_of_hash) {
    std::uint64_t hash = 0;
    const char* const end = digits.data() + at + digits_of_hash;
    if (std::from_chars(digits.data() + at, end, hash, 16).ptr != end) return {};
    sketch.hashes_.push_back(hash);
  }
  if (!std::is_sorted(sketch.hashes_.begin(), sketch.hashes_.end())) return {};
  sketch.is_whole_ = sketch.hashes_.size() < size;
  return sketch;
}

void TextSketch::add(const TextSketch& other) {
  // A run among the smallest of both texts is among the smallest of its own.
  std::set<std::uint64_t> both(hashes_.begin(), hashes_.end());
  both.insert(other.hashes_.begin(), other.hashes_.end());
  hashes_.assign(both.begin(), both.end());
  hashes_.resize(std::min(hashes_.size(), size));
  is_whole_ = hashes_.size() < size;
}

std::string TextSketch::digits() const {
  std::string text;
  for (const std::uint64_t hash : hashes_) text += fmt::format("{:016x}", hash);
  return text;
}

double TextSketch::share_of(std::span<const int> ids) const {
  if (is_empty()) return 0;
  std::int64_t sampled = 0, found = 0;
  for_each_run(ids, [&](std::uint64_t hash) {
    if (!is_whole_ && hash > hashes_.back()) return;
    ++sampled;
    found += std::binary_search(hashes_.begin(), hashes_.end(), hash) ? 1 : 0;
  });
  return sampled == 0 ? 0 : static_cast<double>(found) / static_cast<double>(sampled);
}

}  // namespace hack::model
