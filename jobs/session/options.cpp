#include "jobs/session/options.hpp"

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

/// Text as the type that the option is declared with.
nlohmann::json typed(const CLI::Option& option, const std::string& text) {
  if (option.get_type_name().rfind("TEXT", 0) == 0) return text;
  return nlohmann::json::parse(text, nullptr, false);
}

nlohmann::json value_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return option.count() > 0;  // a flag
  const std::vector<std::string>& given = option.results();
  if (given.size() > 1) return given;
  if (given.size() == 1) return typed(option, given.front());
  return option.get_default_str().empty() ? nlohmann::json() : typed(option, option.get_default_str());
}

}  // namespace

void CommonOptions::add_to(CLI::App& app) {
  const std::string group = common_group;
  app.add_option("--device", device, "cpu, cuda, or auto: cuda where it is there")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--dtype", dtype,
                 "Type weights are held in while running; stored: each in the type or quantized format that it has in "
                 "its file")
      ->check(CLI::IsMember({"stored", "f32", "bf16", "f16"}))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--products", products,
         "exact: f32 activations throughout; fast: where tokens meet weights in 8 bits or less, int8 activations for "
         "few of them and, where the CPU gains by it, int16 for many")
      ->check(CLI::IsMember({"fast", "exact"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--threads", threads, "Threads of each rank; 0: its share of the cores")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group(group);
  app.add_option("--deadline", deadline, "Seconds a rank waits for the others before it ends the run; 0: forever")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--report", report, "Write one JSON object: command, version, config, environment, results")
      ->group(group);
  app.add_flag("--quiet", quiet, "No progress and no messages but errors")->group(group);
}

Device CommonOptions::chosen_device() const {
  if (device == "auto") return kernels::is_available(Device::cuda) ? Device::cuda : Device::cpu;
  const Device chosen = device == "cuda" ? Device::cuda : Device::cpu;
  validate(kernels::is_available(chosen), "--device {}: {} (--device cpu)", device, kernels::why_unavailable(chosen));
  return chosen;
}

nlohmann::json describe_options(const CLI::App& app) {
  nlohmann::json config;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help" || name.empty()) continue;
    config[name] = value_of(*option);
  }
  return config;
}

}  // namespace hack::jobs
