#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hack::model {

/// A sample of a text's runs of tokens, small enough to be kept in an archive: it tells how much of another text,
/// tokenized alike, is in this one. Of the hashes of all runs of `run_tokens` the `size` smallest are kept (bottom-k
/// sampling, Cohen & Kaplan 2007): both texts sample the same runs, whatever surrounds them.
class TextSketch {
 public:
  static constexpr std::ptrdiff_t run_tokens = 16;
  static constexpr std::size_t size = 256;

  /// Of a text's tokens; of windows of it that lie apart, where `window` tokens are one.
  TextSketch(std::span<const int> ids, std::ptrdiff_t window);
  /// What digits() gave; empty where the text is none of that.
  static TextSketch from_digits(const std::string& digits);

  /// Makes it the sample of the runs of both texts.
  void add(const TextSketch& other);

  /// As text: 16 hex digits a hash.
  std::string digits() const;
  bool is_empty() const { return hashes_.empty(); }

  /// The share of the runs of these tokens that are in the sketched text, estimated from those that the sketch would
  /// have kept: exact 0 and 1, else to about 1 / sqrt(how many these are).
  double share_of(std::span<const int> ids) const;

 private:
  TextSketch() = default;

  std::vector<std::uint64_t> hashes_;  // ascending
  bool is_whole_ = false;              // all runs are kept: there are fewer than `size`
};

}  // namespace hack::model
