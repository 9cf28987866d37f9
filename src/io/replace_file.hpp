#pragma once

#include <filesystem>
#include <string>

namespace hack::io {

/// Writes a small file whole: whoever looks finds the text before or the text after, whatever ends the run. An Error
/// that names the file where it cannot be written.
void replace_file(const std::filesystem::path& path, const std::string& text);

}  // namespace hack::io
