#pragma once

#include <CLI/CLI.hpp>

namespace hack::jobs {

/// Puts one or two command lines behind the help of each subcommand of the program, from a table by name.
void add_examples(CLI::App& program);

}  // namespace hack::jobs
