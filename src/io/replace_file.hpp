#pragma once

#include <filesystem>
#include <string>

namespace hack::io {

/// Writes a file whole: whoever looks finds the text before or the text after, whatever ends the run. Pipes and devices
/// are written to. An Error that names the file where it cannot be written.
void replace_file(const std::filesystem::path& path, const std::string& text);

/// An Error that names the file where replace_file() could not write it. Changes nothing.
void check_replaceable(const std::filesystem::path& path);

}  // namespace hack::io
