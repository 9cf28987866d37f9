#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace hack::jobs {

/// Shells that completion() writes for.
inline constexpr const char* completion_shells = "bash or zsh";

/// A script by which a shell completes the commands of `app`, their options, the words that an option takes, and files.
/// Empty for another shell than "bash" and "zsh". Where it goes: docs/building.md.
std::string completion(const CLI::App& app, const std::string& shell);

}  // namespace hack::jobs
