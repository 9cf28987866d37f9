#pragma once

#include <filesystem>

#include "tests/fuzz/fuzz_target.hpp"

namespace hack::fuzz {

/// Starts MPI, of one rank: journals and writers of archives are collective.
void begin(int argc, char** argv);

/// Writes each seed of the target as a file.
void write_seeds(const std::filesystem::path& folder);

}  // namespace hack::fuzz
