#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace hack::testing {

/// Changes inputs at random, in the ways that readers of lengths, offsets and texts stumble over: bits, bytes, numbers
/// at their limits (binary and in digits), pieces left out, doubled, or taken from another seed.
class Mutator {
 public:
  Mutator(std::vector<std::string> seeds, std::uint64_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  /// A seed after one to eight changes.
  std::string next();

 private:
  std::size_t below(std::size_t count) { return count == 0 ? 0 : random_() % count; }
  void change(std::string& bytes);
  void change_piece(std::string& bytes);
  void change_number(std::string& bytes);
  void change_digits(std::string& bytes);

  std::vector<std::string> seeds_;
  std::mt19937_64 random_;
};

}  // namespace hack::testing
