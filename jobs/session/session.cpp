#include "jobs/session/session.hpp"

#include <vector>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "comm/deadline.hpp"
#include "comm/gpu.hpp"
#include "io/replace_file.hpp"
#include "jobs/session/system_info.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {

Session::Session(const CommonOptions& options)
    : options_(options),
      world_(comm::Communicator::world()),
      device_(options.chosen_device()),
      log_(!options.quiet && world_.is_root()),
      threads_(options.threads > 0 ? options.threads : usable_cores(world_)) {
  check_launcher(world_);
  comm::Deadline::start(options.deadline, "raise --deadline");
  // An unwritable place is an error now, not at the end.
  if (!options.report.empty()) for_option("--report", [&] { io::check_replaceable(options.report); });
  const std::string warning = performance_warning(world_, threads_);
  if (!warning.empty()) log_.info("warning: {}", warning);
}

void Session::take_gpu() {
  if (!gpu_.empty()) return;
  const comm::GpuChoice choice = for_option("--device " + options_.device, [&] { return comm::choose_gpu(world_); });
  gpu_ = choice.name;
  gpu_address_ = choice.address;
  gpu_libraries_ = choice.libraries;
  log_.info("GPU: {}{}", gpu_,
            choice.is_shared ? "; ranks share one, so their sums go through host memory (never time this)" : "");
}

void Session::finish(const CLI::App& command, nlohmann::json results) {
  const double memory = peak_memory_bytes();
  const std::vector<double> per_rank = comm::gather<double>(world_, std::span(&memory, 1));
  nlohmann::json environment = describe_environment(world_, threads_, gpu_.empty() ? "cpu" : "cuda");
  environment["gpu_libraries"] = gpu_.empty() ? nlohmann::json(nullptr) : nlohmann::json(gpu_libraries_);
  environment["gpu"] = gpu_.empty() ? nlohmann::json(nullptr) : nlohmann::json(gpu_);
  if (!world_.is_root() || options_.report.empty()) return;
  results["peak_memory_bytes"] = per_rank;
  results["total_seconds"] = watch_.seconds();
  const nlohmann::json report = {{"command", command.get_name()},
                                 {"version", HACK_VERSION},
                                 {"config", describe_options(command)},
                                 {"environment", std::move(environment)},
                                 {"results", std::move(results)}};
  const std::string text = report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for_option("--report", [&] { io::replace_file(options_.report, text); });
}

}  // namespace hack::jobs
