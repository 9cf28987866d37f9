#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace hack::jobs {

/// What is wrong with a command line that `app` could not parse, in one sentence or two: a command or an option that
/// there is not, with the nearest that there is, before whatever else is missing because of it.
std::string explain(const CLI::App& app, const CLI::ParseError& error);

}  // namespace hack::jobs
