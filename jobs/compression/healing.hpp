#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "jobs/compression/model_files.hpp"
#include "jobs/session/session.hpp"
#include "model/heal/heal_options.hpp"

namespace hack::jobs {

/// How a compressed model is trained against the dense one, and on what.
struct HealingOptions {
  model::HealOptions training;
  std::vector<std::string> texts;
  std::string text_option = "--text";  ///< that takes them
  int tensor_parallel = 0;
  bool resume = false;

  /// Adds --heal, so many steps unless it is given, and what goes with it; the texts are the subcommand's own.
  void add_to(CLI::App& app, int steps);
};

/// What training has done.
struct Healed {
  model::HealReport report;
  index_t parameters = 0;  ///< of this rank
  int tensor_parallel = 1;
  int data_parallel = 1;
  double memory = 0;  ///< bytes by the formula, of the rank that needs most; device and host together
  double seconds = 0;
  double seconds_a_step = 0;  ///< of the steps of this run, judgements left out
};

/// Trains the archive of `files` on the texts and writes `output`. A killed run goes on where its folder OUTPUT.heal
/// ends. Collective.
Healed heal(Session& session, const ModelFiles& files, const HealingOptions& options, const std::string& output);

/// Prints what training has done; as fields of a report.
nlohmann::json report_healed(const Healed& healed, const HealingOptions& options, const std::string& output);

}  // namespace hack::jobs
