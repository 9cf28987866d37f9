#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "jobs/compression/model_files.hpp"
#include "model/draft/generate_drafted.hpp"

namespace hack::jobs {

/// The options --draft and --draft-tokens.
class DraftOptions {
 public:
  void add_to(CLI::App& app);
  bool is_given() const { return !archive_.empty(); }
  model::DraftLength length() const { return model::DraftLength(tokens_); }

  /// Opens the archive. An Error if it was made from another model. Collective.
  svd::FactorArchive open(const Session& session, const ModelFiles& files) const;

  /// What the draft did, for a report.
  nlohmann::json report(const model::DraftedText& drafted) const;
  /// Acceptance, costs, what they allow by the formula of model::DraftCosts, how much of it was reached, and whether
  /// the draft pays at all; lines without the last line's end.
  static std::string words(const nlohmann::json& report);
  /// Says it, on rank 0.
  static void log(const Session& session, const nlohmann::json& report);

 private:
  std::string archive_;
  std::optional<long> tokens_;
};

}  // namespace hack::jobs
