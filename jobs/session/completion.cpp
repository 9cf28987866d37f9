#include "jobs/session/completion.hpp"

#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "jobs/session/file_options.hpp"
#include "jobs/session/options.hpp"

namespace hack::jobs {
namespace {

bool is_file(const CLI::Option& option) {
  return option.get_type_name() == input_type || option.get_type_name() == output_type;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* one) { return !one->get_name().empty(); });
}

/// The case of a command: its options, what its positional arguments may be, and what may follow an option.
std::string bash_case(const CLI::App& command) {
  std::vector<std::string> names, words;
  std::string values;
  for (const CLI::Option* option : options_of(command)) {
    if (option->get_positional()) {
      const std::vector<std::string> choices = choices_of(*option);
      words.insert(words.end(), choices.begin(), choices.end());
      continue;
    }
    const std::string name = "--" + option->get_single_name();
    names.push_back(name);
    if (!takes_value(*option)) continue;
    const std::vector<std::string> choices = choices_of(*option);
    const std::string reply =
        is_file(*option) ? "compgen -f --" : fmt::format("compgen -W '{}' --", fmt::join(choices, " "));
    values += fmt::format("        {}) COMPREPLY=($({} \"$current\")); return ;;\n", name, reply);
  }
  return fmt::format("    {}) options='{}' words='{}'\n      case $previous in\n{}      esac ;;\n", command.get_name(),
                     fmt::join(names, " "), fmt::join(words, " "), values);
}

std::string bash(const CLI::App& app) {
  std::vector<std::string> names;
  std::string cases;
  for (const CLI::App* command : commands_of(app)) {
    names.push_back(command->get_name());
    cases += bash_case(*command);
  }
  return fmt::format(R"(# Completion for bash, written by: {0} --completion bash
_{0}() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} options='' words='' at
  local command=''
  for ((at = 1; at < COMP_CWORD; ++at)); do
    case ${{COMP_WORDS[at]}} in
      {1}) command=${{COMP_WORDS[at]}}; break ;;
    esac
  done
  case $command in
    '') COMPREPLY=($(compgen -W '{2} --help --version' -- "$current")); return ;;
{3}  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current")) ;;
  esac
}}
complete -o filenames -F _{0} {0}
)",
                     app.get_name(), fmt::join(names, " | "), fmt::join(names, " "), cases);
}

/// Text between the quotes and brackets of an argument of _arguments.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else if (c == '[' || c == ']' || c == ':' || c == '\\')
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}

std::string zsh_arguments(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : options_of(command)) {
    const std::vector<std::string> choices = choices_of(*option);
    const std::string action = !choices.empty()   ? fmt::format("({})", fmt::join(choices, " "))
                               : is_file(*option) ? "_files"
                                                  : " ";
    if (option->get_positional()) {
      // The first may be a word (a bench, a study) or a file; those behind it are files.
      text += fmt::format(
          " \\\n        '*:{}:{}'", option->get_name(true),
          choices.empty() ? "_files" : fmt::format("_alternative \"words:word:{}\" \"files:file:_files\"", action));
      continue;
    }
    text += fmt::format(" \\\n        '--{}[{}]", option->get_single_name(), zsh_text(option->get_description()));
    text += takes_value(*option) ? fmt::format(":value:{}'", action) : "'";
  }
  return text;
}

std::string zsh(const CLI::App& app) {
  std::string names, cases;
  for (const CLI::App* command : commands_of(app)) {
    names += fmt::format("    '{}:{}'\n", command->get_name(), zsh_text(command->get_description()));
    cases += fmt::format("    {})\n      _arguments{} ;;\n", command->get_name(), zsh_arguments(*command));
  }
  return fmt::format(R"(#compdef {0}
# Completion for zsh, written by: {0} --completion zsh
_{0}() {{
  local -a commands
  commands=(
{1}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{2}  esac
}}
_{0} "$@"
)",
                     app.get_name(), names, cases);
}

}  // namespace

std::string completion(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") return bash(app);
  return shell == "zsh" ? zsh(app) : std::string();
}

}  // namespace hack::jobs
