#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "jobs/compression/lm_eval_report.hpp"
#include "jobs/compression/selection.hpp"
#include "jobs/compression/window_scoring.hpp"
#include "model/evaluate/perplexity_protocol.hpp"

namespace hack::jobs {

/// What `perplexity` is asked for.
struct PerplexityOptions {
  std::string model, archive, text, per_token, compare, save_logits, slice;
  std::string protocol{model::protocols().front().name};
  std::optional<long> context, stride, windows;
  bool divergence = false;
  SelectionOptions selection;
  ScoringOptions scoring;
  LmEvalReport lm_eval;

  void add_to(CLI::App& app);
  /// An Error, naming options, where they do not go together or an output could not be written. Reads nothing.
  void check() const;

  bool compares_with_dense() const;
  bool compares_with_file() const { return !compare.empty() && !compares_with_dense(); }
  /// The protocol that is asked for, or that files of base logits imply.
  const model::Protocol& chosen_protocol() const;
  /// What --slice takes of a plan.
  model::WindowPlan sliced(const model::WindowPlan& plan) const;

 private:
  bool implies_llama_cpp() const { return !save_logits.empty() || compares_with_file(); }

  CLI::Option* protocol_ = nullptr;
};

}  // namespace hack::jobs
