#include "jobs/compression/draft_options.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"

namespace hack::jobs {
namespace {

double ratio(double part, double of) { return of > 0 ? part / of : 0; }

}  // namespace

void DraftOptions::add_to(CLI::App& app) {
  auto* draft = app.add_option("--draft", archive_,
                               "Factor archive of a cheaper copy of the model: it proposes tokens, which the model "
                               "checks several at a time; the text is that without it");
  draft->type_name(input_type);
  app.add_option("--draft-tokens", tokens_,
                 "Tokens that the draft proposes at a time; without it as many as pay most by the times measured so "
                 "far, none where none do")
      ->check(whole(1, model::DraftLength::largest))
      ->needs(draft);
}

svd::FactorArchive DraftOptions::open(const Session& session, const ModelFiles& files) const {
  svd::FactorArchive archive(archive_);
  files.validate_made_from(session, archive, "--draft " + archive_);
  return archive;
}

nlohmann::json DraftOptions::report(const model::DraftedText& drafted) const {
  const auto count = [](index_t n) { return static_cast<double>(n); };
  const model::DraftCosts& costs = drafted.costs;
  const index_t length = tokens_ ? *tokens_ : drafted.best_length;
  const double expected = costs.model_seconds > 0 ? costs.tokens_per_second(length) : 0;
  const double reached = ratio(count(std::ssize(drafted.text.ids)) - 1, drafted.text.decode_seconds);
  return {
      {"archive", archive_},
      {"passes", drafted.passes},
      {"plain_passes", drafted.plain_passes},
      {"proposed", drafted.proposed},
      {"accepted", drafted.accepted},
      {"acceptance", costs.acceptance},
      {"tokens_per_pass", ratio(count(drafted.passes + drafted.accepted), count(drafted.passes))},
      {"draft_seconds", costs.draft_seconds},
      {"model_seconds", costs.model_seconds},
      {"further_seconds", costs.further_seconds},
      {"best_tokens", drafted.best_length},
      {"is_fixed", tokens_.has_value()},
      {"tokens_per_second", reached},
      {"plain_tokens_per_second", ratio(1, costs.model_seconds)},
      {"expected_tokens", length},
      {"expected_tokens_per_pass", costs.tokens(length)},
      {"expected_tokens_per_second", expected},
      {"share_of_expected", ratio(reached, expected)},
  };
}

std::string DraftOptions::words(const nlohmann::json& report) {
  const auto number = [&](const char* key) { return report[key].get<double>(); };
  const double draft = ratio(number("draft_seconds"), number("model_seconds"));
  const double further = ratio(number("further_seconds"), number("model_seconds"));
  const long length = report["expected_tokens"].get<long>();
  std::string words = fmt::format(
      "acceptance {:.2f}; a token of the draft takes {:.2f} of the model's time, each proposed one adds {:.2f} to the "
      "model's pass\n",
      number("acceptance"), draft, further);
  words += fmt::format(
      "{} proposed a pass: (1 - a^{}) / (1 - a) = {:.2f} tokens at a cost of 1 + {} ({:.2f} + {:.2f}) = {:.2f}, "
      "{:.1f} tokens/s; {:.2f} of it reached",
      length, length + 1, number("expected_tokens_per_pass"), length, draft, further,
      1 + static_cast<double>(length) * (draft + further), number("expected_tokens_per_second"),
      number("share_of_expected"));
  if (report["best_tokens"] == 0) {
    words += report["is_fixed"].get<bool>()
                 ? "\nthe draft does not pay on this text; without --draft-tokens the model alone decodes most of it"
                 : "\nthe draft does not pay on this text: the model alone decoded most of it";
  }
  return words;
}

void DraftOptions::log(const Session& session, const nlohmann::json& report) {
  const auto number = [&](const char* key) { return report[key].get<double>(); };
  session.log().info(
      "draft: {:.0f} of {:.0f} proposed tokens accepted, {:.2f} tokens a pass; {:.1f} tokens/s, the "
      "model alone {:.1f}",
      number("accepted"), number("proposed"), number("tokens_per_pass"), number("tokens_per_second"),
      number("plain_tokens_per_second"));
  session.log().info("{}", words(report));
}

}  // namespace hack::jobs
