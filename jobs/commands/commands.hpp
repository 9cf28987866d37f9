#pragma once

#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

#include "jobs/session/session.hpp"

namespace hack::jobs {

// Each binds one subcommand's options to `app`; the files are named after the subcommands.
std::unique_ptr<Command> make_inspect(CLI::App& app);
std::unique_ptr<Command> make_tokenize(CLI::App& app);
std::unique_ptr<Command> make_perplexity(CLI::App& app);
std::unique_ptr<Command> make_evaluate(CLI::App& app);
std::unique_ptr<Command> make_generate(CLI::App& app);
std::unique_ptr<Command> make_compress(CLI::App& app);
std::unique_ptr<Command> make_export(CLI::App& app);
std::unique_ptr<Command> make_heal(CLI::App& app);
std::unique_ptr<Command> make_import(CLI::App& app);
std::unique_ptr<Command> make_sweep(CLI::App& app);
std::unique_ptr<Command> make_bench(CLI::App& app);
std::unique_ptr<Command> make_study(CLI::App& app);
std::unique_ptr<Command> make_plan(CLI::App& app);
std::unique_ptr<Command> make_doctor(CLI::App& app);
std::unique_ptr<Command> make_report(CLI::App& app);

/// All subcommands, in the order of the help text.
std::vector<std::unique_ptr<Command>> make_commands(CLI::App& app);

}  // namespace hack::jobs
