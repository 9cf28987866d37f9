#pragma once

#include <filesystem>
#include <string>

namespace hack::io {

/// 32 hex digits that tell large files apart without reading them whole: a hash of the size and of up to 256 pieces of
/// 4 KiB, spread evenly over the file, its first and last bytes among them. It does not notice changes between them. An
/// Error if the file cannot be read.
std::string file_digest(const std::filesystem::path& path);

}  // namespace hack::io
