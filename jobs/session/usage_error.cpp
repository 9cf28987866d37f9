#include "jobs/session/usage_error.hpp"

#include <vector>

#include <fmt/core.h>

#include "jobs/session/near_miss.hpp"
#include "jobs/session/options.hpp"

namespace hack::jobs {
namespace {

bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

/// The option without a value that is written behind it.
std::string name_of(const std::string& word) { return word.substr(0, word.find('=')); }

std::vector<std::string> names_of_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_name().empty()) names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> names_of_options(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options_of(command)) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  if (parsed.empty()) {
    for (const std::string& word : app.remaining()) {
      if (is_option(word)) continue;
      return fmt::format("unknown command {}{}\n`hack --help` lists the commands.", shortened(word),
                         did_you_mean(word, names_of_commands(app)));
    }
    return fmt::format("{}\n`hack --help` lists the commands.", error.what());
  }
  const CLI::App& command = *parsed.front();
  const std::string where = fmt::format("\n`hack {} --help` lists its options.", command.get_name());
  for (const std::string& word : command.remaining()) {
    if (!is_option(word)) continue;
    return fmt::format("{} has no option {}{}{}", command.get_name(), shortened(word),
                       did_you_mean(name_of(word), names_of_options(command)), where);
  }
  return error.what() + where;
}

}  // namespace hack::jobs
