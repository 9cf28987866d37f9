#include "jobs/session/markdown_help.hpp"

#include <algorithm>
#include <vector>

#include <fmt/core.h>

#include "jobs/session/file_options.hpp"
#include "jobs/session/options.hpp"

namespace hack::jobs {
namespace {

constexpr int all_computing = 4;

/// Options under one heading.
struct Section {
  std::string title;  ///< empty: the subcommand's own
  std::vector<const CLI::Option*> options;
};

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

bool is_listed(const CLI::Option& option) { return !option.get_group().empty() && option.get_name() != "--help"; }

/// Text of a table's cell: a bar would end it.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? "\\|" : std::string(1, c);
  return escaped;
}

/// The words that an option takes, as code; empty where any value goes.
std::string choices(const CLI::Option& option) {
  std::string words;
  for (const std::string& word : choices_of(option)) words += (words.empty() ? "`" : ", `") + word + "`";
  return words;
}

/// What stands for an option's value in its usage.
std::string placeholder(const CLI::Option& option) {
  if (is_flag(option)) return "";
  const std::string type = option.get_type_name();
  const bool is_number = type.rfind("INT", 0) == 0 || type.rfind("UINT", 0) == 0 || type.rfind("FLOAT", 0) == 0;
  const bool is_file = type == input_type || type == output_type;
  return fmt::format(" {}{}",
                     is_number ? "N"
                     : is_file ? "FILE"
                               : "TEXT",
                     option.get_items_expected_max() > 1 ? "…" : "");
}

std::string names(const CLI::Option& option) {
  if (option.get_positional()) return "`" + option.get_name(true) + "`";
  std::string all;
  for (const std::string& name : option.get_lnames())
    all += fmt::format("{}`--{}", all.empty() ? "" : ", ", name) + "`";
  all.insert(all.size() - 1, placeholder(option));
  return all;
}

std::string row(const CLI::Option& option) {
  const std::string allowed = choices(option);
  std::string text = option.get_description();
  if (!allowed.empty()) text += fmt::format(". One of {}", allowed);
  const std::string preset = is_flag(option) ? "" : option.get_default_str();
  const std::string value = option.get_required() ? "required" : preset.empty() ? "" : "`" + preset + "`";
  return fmt::format("| {} | {} | {} |\n", names(option), cell(text), value);
}

void add(std::vector<Section>& sections, const std::string& title, const CLI::Option* option) {
  auto section = std::find_if(sections.begin(), sections.end(), [&](const Section& s) { return s.title == title; });
  if (section == sections.end()) section = sections.insert(sections.end(), Section{title, {}});
  section->options.push_back(option);
}

/// Options of `app` by heading, positional ones first; those of its groups under the group's name.
std::vector<Section> sections_of(const CLI::App& app) {
  std::vector<Section> sections;
  for (const bool positional : {true, false}) {
    for (const CLI::Option* option : app.get_options()) {
      if (!is_listed(*option) || option->get_positional() != positional) continue;
      add(sections, option->get_group() == "Options" ? "" : option->get_group(), option);
    }
  }
  for (const CLI::App* group : app.get_subcommands([](const CLI::App* one) { return one->get_name().empty(); })) {
    for (const CLI::Option* option : group->get_options()) add(sections, group->get_group(), option);
  }
  // The subcommand's own options first, its groups of options behind them.
  std::stable_partition(sections.begin(), sections.end(), [](const Section& s) { return s.title.empty(); });
  return sections;
}

std::string table(const Section& section) {
  std::string text = "| option | meaning | default |\n| --- | --- | --- |\n";
  for (const CLI::Option* option : section.options) text += row(*option);
  return text;
}

/// The options of computing that a subcommand has, where it has not all.
std::string computing_names(const CLI::App& command) {
  std::string names;
  int count = 0;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group() != computing_group) continue;
    names += fmt::format("{}`--{}`", names.empty() ? "" : ", ", option->get_single_name());
    ++count;
  }
  return count == all_computing ? "" : count == 0 ? "none" : names;
}

std::string describe(const CLI::App& command) {
  std::string usage = "hack " + command.get_name();
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    usage += option->get_required() ? " " + option->get_name(true) : " [" + option->get_name(true) + "]";
  }
  std::string text = fmt::format("\n## hack {}\n\n{}.\n\n```text\n{} [OPTION]…\n```\n", command.get_name(),
                                 command.get_description(), usage);
  for (const Section& section : sections_of(command)) {
    if (section.title == common_group || section.title == computing_group) continue;
    text += section.title.empty() ? "\n" : fmt::format("\n**{}**\n\n", section.title);
    text += table(section);
  }
  if (const std::string names = computing_names(command); !names.empty()) {
    text += fmt::format("\nOf the [options of computing](#options-of-subcommands-that-compute): {}.\n", names);
  }
  return text + fmt::format("\n```text\n{}\n```\n", command.get_footer());
}

}  // namespace

std::string markdown_help(const CLI::App& app) {
  std::string text = fmt::format(
      "# Command reference\n\n"
      "This page is written by the program itself, from the options that it parses: `{0} --help-markdown` prints it. A "
      "test compares the page with the program.\n\n"
      "{1} `{0} COMMAND --help` prints one section of this page. Every command runs alone, or on P ranks under "
      "`mpirun -n P`. The exit status is 0 where all that was asked for is done, 1 after an error and 2 where the "
      "options are wrong.\n",
      app.get_name(), app.get_description());
  const auto commands = app.get_subcommands([](const CLI::App* one) { return !one->get_name().empty(); });
  text += "\n| command | what it does |\n| --- | --- |\n";
  for (const CLI::App* command : commands) {
    text += fmt::format("| [`{0}`](#hack-{0}) | {1} |\n", command->get_name(), cell(command->get_description()));
  }
  for (const CLI::App* command : commands) text += describe(*command);
  if (commands.empty()) return text;
  for (const Section& section : sections_of(*commands.front())) {
    if (section.title != common_group && section.title != computing_group) continue;
    text += fmt::format("\n## {}\n\n{}", section.title, table(section));
  }
  return text;
}

}  // namespace hack::jobs
