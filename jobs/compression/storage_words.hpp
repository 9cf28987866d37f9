#pragma once

#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

namespace hack::jobs {

/// Returns the present word for a storage of tiles: interpolative was called "pivoted" up to version 0.1, on command
/// lines, in archives and in the reports of `hack bench apply`. Any other text comes back as it is.
std::string current_storage_word(std::string_view word);

/// Checks the words of --storage, interpolative and factors, and replaces an old one by the present one, which reports
/// then hold. For CLI::Option::transform().
CLI::Validator storage_words();

/// Checks that a text names a codec of the table in kernels/codec.hpp. For CLI::Option::check().
CLI::Validator codec_words();

}  // namespace hack::jobs
