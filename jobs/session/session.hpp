#pragma once

#include <string>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.hpp"
#include "jobs/session/log.hpp"
#include "jobs/session/options.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {

/// One run of a subcommand: its ranks, threads, messages, and the report at its end.
class Session {
 public:
  explicit Session(const CommonOptions& options);

  const comm::Communicator& world() const { return world_; }
  const CommonOptions& options() const { return options_; }
  const Log& log() const { return log_; }
  int threads() const { return threads_; }
  Products products() const { return options_.chosen_products(); }
  Device device() const { return device_; }
  /// Gives each rank its GPU and says which, once. Collective.
  void take_gpu();
  /// PCI address of this rank's GPU; empty until taken.
  const std::string& gpu_address() const { return gpu_address_; }

  /// Adds to `results` what every report has: seconds of the whole run and peak memory. Writes the file of --report on
  /// rank 0, whole or not at all. Collective.
  void finish(const CLI::App& command, nlohmann::json results);

 private:
  const CommonOptions& options_;
  comm::Communicator world_;
  Device device_;
  std::string gpu_;  // of rank 0; empty until taken
  std::string gpu_address_;
  std::string gpu_libraries_;
  Log log_;
  int threads_;
  Stopwatch watch_;
};

/// A subcommand: binds its options when made, works in run().
class Command {
 public:
  Command(CLI::App& parent, const char* name, const char* description)
      : app_(*parent.add_subcommand(name, description)) {}
  virtual ~Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  const CLI::App& app() const { return app_; }
  const CommonOptions& common() const { return common_; }
  /// Does the work on all ranks, prints the answer on rank 0, returns the report's `results`.
  virtual nlohmann::json run(Session& session) = 0;
  /// Whether what was asked for is done, after run(); asked of rank 0. Else the exit status is 1: the command has said
  /// why.
  virtual bool is_done() const { return true; }
  /// Whether the answer is a list of which a reader may take the beginning alone, as `head` does.
  virtual bool is_list() const { return false; }

 protected:
  CLI::App& app_;
  CommonOptions common_;
};

/// Calls body.template operator()<D>() with the device chosen at run time as template argument: the one place where the
/// option becomes a type. For callers that have taken their GPU.
template <class Body>
auto with_device(Device device, Body&& body) {
  if (device == Device::cuda) return body.template operator()<Device::cuda>();
  return body.template operator()<Device::cpu>();
}

/// Calls the body with the session's device, and takes the GPU first. Collective over all ranks.
template <class Body>
auto with_device(Session& session, Body&& body) {
  if (session.device() == Device::cuda) session.take_gpu();
  return with_device(session.device(), std::forward<Body>(body));
}

}  // namespace hack::jobs
