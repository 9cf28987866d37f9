#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hack::jobs {

/// Largest value of a --seed.
inline constexpr long largest_seed = 1L << 62;
/// Of a --deadline, in seconds: thirty years.
inline constexpr double longest_deadline = 1e9;

// Checks of option values, for CLI::Option::check(). CLI11's own let NaN through and write the largest double with 309
// digits. Each of these says what was given and what may be.

/// Whole numbers from `least` to `most`.
CLI::Validator whole(long least, long most);
/// Numbers from `least` to `most`, both included. No NaN.
CLI::Validator number(double least, double most);
/// Numbers above `least`, up to `most`. No NaN.
CLI::Validator number_above(double least, double most);
/// One of some words; names the nearest where a word is none of them.
CLI::Validator one_of(const std::vector<std::string>& words);
/// A number of bytes, with K, M, G or T behind it for powers of 1024. For CLI::Option::transform(): the text becomes
/// the number.
CLI::Validator byte_size();

}  // namespace hack::jobs
