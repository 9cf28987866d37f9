#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hack::jobs {

// Types of options that name files, for CLI::Option::type_name(): check_files() goes by them.
inline constexpr const char* input_type = "FILE";     ///< a file that is read, or a folder of such files
inline constexpr const char* output_type = "OUTPUT";  ///< a file that is written

/// An Error where a file that the command would write is one that it reads, by whatever name (links are followed), or
/// one that another option writes. Opens nothing and changes nothing. `command` has been parsed.
void check_files(const CLI::App& command);

/// An Error where `output`, which the option writes, is this input, another part of it, or a file of this folder.
void refuse_input(const std::string& option, const std::filesystem::path& output, const std::string& input);

}  // namespace hack::jobs
