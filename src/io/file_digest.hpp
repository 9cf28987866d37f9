#pragma once

#include <filesystem>
#include <string>

namespace hack::io {

/// 32 hex digits that tell files apart: a hash of all bytes. An Error if the file cannot be read.
std::string file_digest(const std::filesystem::path& path);

}  // namespace hack::io
