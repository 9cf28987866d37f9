#include "jobs/report/run_file.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include <fmt/core.h>

#include "jobs/session/options.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

json object_at(const json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_object() ? *at : json::object();
}

/// A word as a POSIX shell reads it back.
std::string quoted(const std::string& word) {
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_-./,:=+%@").find(c) != std::string::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string word_of(const json& value) {
  if (value.is_string()) return quoted(value.get<std::string>());
  return value.is_number_float() ? fmt::format("{}", value.get<double>()) : quoted(value.dump());
}

std::string words_of(const json& value) {
  if (!value.is_array()) return word_of(value);
  std::string text;
  for (const json& one : value) text += (text.empty() ? "" : " ") + word_of(one);
  return text;
}

/// Positional arguments are named in capitals.
bool is_positional(const std::string& name) {
  return !name.empty() && std::none_of(name.begin(), name.end(), [](unsigned char c) { return std::islower(c) != 0; });
}

bool is_unset(const json& value) {
  return value.is_null() || value == false || value == "" || (value.is_array() && value.empty());
}

}  // namespace

double number_at(const json& object, const std::string& key) {
  if (!object.is_object()) return std::numeric_limits<double>::quiet_NaN();
  const auto at = object.find(key);
  return at != object.end() && at->is_number() ? at->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::string text_at(const json& object, const std::string& key) {
  if (!object.is_object()) return {};
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return {};
  return at->is_string() ? at->get<std::string>() : at->dump(-1, ' ', false, json::error_handler_t::replace);
}

RunFile read_run(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  validate(file.good() && !std::filesystem::is_directory(path), "{} cannot be read; name a file that --report wrote",
           path);
  const json all = json::parse(bytes.str(), nullptr, false);
  validate(!all.is_discarded(), "{} is not JSON; name a file that --report wrote", path);
  RunFile run;
  run.file = std::filesystem::path(path).filename().string();
  if (all.is_object() && all.contains("key") && all.contains("rows")) {  // a study's table
    run.command = "study";
    run.config = object_at(all, "key");
    run.results = all;
    run.results.erase("key");
    run.environment = json::object();
    return run;
  }
  validate(all.is_object() && !text_at(all, "command").empty() && all.contains("results"),
           "{} is no report of a run (it has no command and results); name a file that --report wrote", path);
  run.command = text_at(all, "command");
  run.version = text_at(all, "version");
  run.config = object_at(all, "config");
  run.environment = object_at(all, "environment");
  run.results = object_at(all, "results");
  return run;
}

std::string command_line(const RunFile& run, const CLI::App& program) {
  json presets = json::object();
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == run.command && command->count_all() == 0) presets = describe_options(*command);
  }
  const double ranks = number_at(run.environment, "ranks");
  std::string line = ranks > 1 ? fmt::format("mpirun -n {:.0f} hack ", ranks) : "hack ";
  line += quoted(run.command);
  for (const bool positional : {true, false}) {
    for (const auto& [name, value] : run.config.items()) {
      if (is_positional(name) != positional || is_unset(value)) continue;
      if (presets.contains(name) && presets[name] == value) continue;
      if (!positional) line += " --" + name;
      if (value != true) line += " " + words_of(value);
    }
  }
  return line;
}

}  // namespace hack::jobs
