#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace hack::jobs {

/// The command reference as a Markdown page: a section for each subcommand of `app`, with its usage and a table of its
/// options for each heading of the help; at last the options that every subcommand has. docs/command-reference.md is
/// this text, and a test compares the two.
std::string markdown_help(const CLI::App& app);

}  // namespace hack::jobs
