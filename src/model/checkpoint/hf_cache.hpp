#pragma once

#include <filesystem>

namespace hack::model {

/// The directory that has a model's files: `path` itself, or, where it is a model's folder of Hugging Face's download
/// cache ("models--…", with "snapshots" in it), the snapshot that its "main" stands for, else the only one.
std::filesystem::path model_directory(const std::filesystem::path& path);

}  // namespace hack::model
