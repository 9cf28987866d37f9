#include "jobs/session/options.hpp"

#include <algorithm>
#include <cstdint>
#include <sstream>

#include <nlohmann/json.hpp>

#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/parse_number.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

/// Nothing but the text itself where it is no number.
template <class T>
nlohmann::json number_or_text(const std::string& text) {
  const std::optional<T> value = parse_number<T>(text);
  return value ? nlohmann::json(*value) : nlohmann::json(text);
}

/// Text as the type that the option is declared with.
nlohmann::json typed(const CLI::Option& option, const std::string& text) {
  const std::string type = option.get_type_name();
  if (type.starts_with("INT") || type.starts_with("UINT")) return number_or_text<std::int64_t>(text);
  return type.starts_with("FLOAT") ? number_or_text<double>(text) : nlohmann::json(text);
}

nlohmann::json value_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return option.count() > 0;  // a flag
  const std::vector<std::string>& given = option.results();
  if (given.size() == 1) return typed(option, given.front());
  if (given.size() > 1) {
    nlohmann::json all = nlohmann::json::array();
    for (const std::string& text : given) all.push_back(typed(option, text));
    return all;
  }
  return option.get_default_str().empty() ? nlohmann::json() : typed(option, option.get_default_str());
}

}  // namespace

void CommonOptions::add_to(CLI::App& app, const std::vector<std::string>& computing) {
  const auto takes = [&](const char* name) {
    return std::find(computing.begin(), computing.end(), name) != computing.end();
  };
  if (takes("--device")) {
    app.add_option("--device", device, "cpu, cuda, or auto: cuda where it is there")
        ->check(one_of({"cpu", "cuda", "auto"}))
        ->capture_default_str()
        ->group(computing_group);
  }
  if (takes("--dtype")) {
    app.add_option("--dtype", dtype,
                   "Type weights are held in while running; stored: each in the type or quantized format that it has "
                   "in its file")
        ->check(one_of({"stored", "f32", "bf16", "f16"}))
        ->capture_default_str()
        ->group(computing_group);
  }
  if (takes("--products")) {
    app.add_option(
           "--products", products,
           "exact: f32 activations; fast: where tokens meet weights in 8 bits or less, int8 activations for few of "
           "them and, where the CPU gains by it, int16 or bf16 for many. Many tokens meet weights in bf16 in bf16, "
           "where the CPU multiplies that, either way")
        ->check(one_of({"fast", "exact"}))
        ->capture_default_str()
        ->group(computing_group);
  }
  // Scripts give it to every command, those that compute nothing included.
  app.add_option("--threads", threads, "Threads of each rank; 0: its share of the cores")
      ->check(whole(0, 4096))
      ->capture_default_str()
      ->group(takes("--threads") ? computing_group : common_group);
  app.add_option("--deadline", deadline, "Seconds a rank waits for the others before it ends the run; 0: forever")
      ->check(number(0, longest_deadline))
      ->capture_default_str()
      ->group(common_group);
  app.add_option("--report", report, "Write one JSON object: command, version, config, environment, results")
      ->type_name(output_type)
      ->group(common_group);
  app.add_flag("--quiet", quiet, "No progress and no messages but errors")->group(common_group);
}

bool is_common(const CLI::Option& option) {
  return option.get_group() == common_group || option.get_group() == computing_group;
}

std::vector<std::string> choices_of(const CLI::Option& option) {
  // CLI11 writes them as {a,b,c} behind the option's type.
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}', begin);
  std::vector<std::string> words;
  if (begin == std::string::npos || end == std::string::npos) return words;
  std::istringstream list(type.substr(begin + 1, end - begin - 1));
  for (std::string word; std::getline(list, word, ',');) words.push_back(word);
  return words;
}

Device CommonOptions::chosen_device() const {
  if (device == "auto") return kernels::is_available(Device::cuda) ? Device::cuda : Device::cpu;
  const Device chosen = device == "cuda" ? Device::cuda : Device::cpu;
  validate(kernels::is_available(chosen), "--device {}: {} (--device cpu)", device, kernels::why_unavailable(chosen));
  return chosen;
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  std::vector<const CLI::Option*> options = app.get_options();
  for (const CLI::App* group : app.get_subcommands([](const CLI::App* one) { return one->get_name().empty(); })) {
    const std::vector<const CLI::Option*> more = group->get_options();
    options.insert(options.end(), more.begin(), more.end());
  }
  return options;
}

nlohmann::json describe_options(const CLI::App& app) {
  nlohmann::json config;
  for (const CLI::Option* option : options_of(app)) {
    const std::string name = option->get_single_name();
    if (name == "help" || name.empty()) continue;
    config[name] = value_of(*option);
  }
  return config;
}

}  // namespace hack::jobs
