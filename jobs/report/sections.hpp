#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "jobs/report/run_file.hpp"

namespace hack::jobs {

/// What each run did and its most telling figure, a row a run, with links to their sections.
std::string summary(const std::vector<RunFile>& runs);

/// Command, machine, pictures, and every figure of a run as tables. `number` makes the section's name.
std::string section(const RunFile& run, std::size_t number, const CLI::App& program);

}  // namespace hack::jobs
