#include "jobs/compression/evaluation.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "jobs/compression/model_files.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"
#include "model/calibration/text_sketch.hpp"
#include "svd/archive/factor_archive.hpp"

namespace hack::jobs {
namespace {

/// Calls visit(line) for each line of at least 60 bytes.
template <class Visit>
void for_each_long_line(std::string_view text, Visit visit) {
  constexpr std::size_t long_line = 60;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end >= long_line) visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void warn_of_overlap(const Session& session, const std::string& option, const std::string& path,
                     const std::string& text, const std::vector<std::string>& calibration) {
  for (const std::string& other : calibration) {
    const long lines = shared_long_lines(text, read_text("--calibration", other));
    if (lines == 0) continue;
    session.log().info(
        "warning: {} {} shares {} long lines with --calibration {}: its figures flatter the compressed model; evaluate "
        "on another text",
        option, path, lines, other);
  }
}

}  // namespace

CLI::Option* EvaluationOptions::add_to(CLI::App& app, const std::string& name) {
  CLI::Option* option =
      app.add_option(name, texts, "UTF-8 texts on which the compressed model is compared with the dense one")
          ->type_name(input_type);
  app.add_option("--evaluate-windows", windows, "Windows of each that are scored, by protocol 2048")
      ->check(whole(1, 1L << 30))
      ->capture_default_str();
  return option;
}

Evaluation::Evaluation(const Session& session, const model::Checkpoint& checkpoint, model::HeldType type,
                       const std::string& option, const EvaluationOptions& options,
                       const std::vector<std::string>& calibration)
    : session_(session), checkpoint_(checkpoint), type_(type), queue_(session.threads()), texts_(options.texts) {
  if (texts_.empty()) return;
  const index_t context = std::min<index_t>(2048, checkpoint.config().context_length);
  std::vector<std::vector<int>> ids;
  std::vector<model::WindowPlan> plans;
  for (const std::string& path : texts_) {
    const std::string origin = option + " " + path;
    const std::string text = session.world().is_root() ? read_text(option, path) : std::string();
    if (session.world().is_root()) warn_of_overlap(session, option, path, text, calibration);
    ids.push_back(encode_on_root(session.world(), checkpoint, origin, text).ids);
    validate(std::ssize(ids.back()) >= context, "{}: {} tokens are fewer than one window of {}; give a longer text",
             origin, ids.back().size(), context);
    plans.push_back(model::plan_windows(model::find_protocol("2048"), std::ssize(ids.back()), context, std::nullopt,
                                        options.windows));
  }
  model::Llama<Device::cpu> llama({checkpoint, nullptr, type}, session.world(), queue_);
  for (std::size_t t = 0; t < texts_.size(); ++t) {
    Progress progress(session.log(), "evaluate the dense model", "windows");
    comparisons_.emplace_back(llama, std::move(ids[t]), std::move(plans[t]),
                              [&](index_t done, index_t all) { progress.update(done, all); });
  }
}

std::vector<TextScore> Evaluation::dense() const {
  std::vector<TextScore> scores;
  for (std::size_t t = 0; t < texts_.size(); ++t) {
    const double perplexity = comparisons_[t].reference().perplexity(comparisons_[t].plan()).perplexity;
    scores.push_back({texts_[t], perplexity, perplexity, 0});
  }
  return scores;
}

std::vector<TextScore> Evaluation::score(const std::filesystem::path& archive) {
  return texts_.empty() ? std::vector<TextScore>() : score(svd::FactorArchive(archive));
}

std::vector<TextScore> Evaluation::score(const svd::FactorSource& factors) {
  if (texts_.empty()) return {};
  model::Llama<Device::cpu> llama({checkpoint_, &factors, type_}, session_.world(), queue_);
  std::vector<TextScore> scores = dense();
  for (std::size_t t = 0; t < texts_.size(); ++t) {
    Progress progress(session_.log(), "evaluate", "windows");
    const model::ComparedModel compared = comparisons_[t].compare(
        llama, {checkpoint_, nullptr, type_}, [&](index_t done, index_t all) { progress.update(done, all); });
    scores[t].after = compared.perplexity(comparisons_[t].plan()).perplexity;
    scores[t].divergence = compared.divergence.mean.value;
    scores[t].same_top = compared.divergence.same_top.value;
  }
  return scores;
}

long shared_long_lines(const std::string& text, const std::string& other) {
  std::unordered_set<std::string_view> lines;
  for_each_long_line(other, [&](std::string_view line) { lines.insert(line); });
  long shared = 0;
  for_each_long_line(text, [&](std::string_view line) { shared += lines.count(line) > 0; });
  return shared;
}

double calibration_overlap(const Session& session, const svd::FactorArchive& archive, const std::string& origin,
                           std::span<const int> ids) {
  constexpr double chance = 0.01;
  const nlohmann::json how = nlohmann::json::parse(archive.info().header.options, nullptr, false);
  if (!how.is_object() || !how.contains(sketch_key) || !how[sketch_key].is_string()) return 0;
  const double share = model::TextSketch::from_digits(how[sketch_key].get<std::string>()).share_of(ids);
  if (share > chance) {
    session.log().info(
        "warning: {}: about {:.0f} % of it is in the text that the archive was calibrated on: its figures flatter the "
        "compressed model; evaluate on another text",
        origin, 100 * share);
  }
  return share;
}

nlohmann::json describe(const std::vector<TextScore>& scores) {
  nlohmann::json out = nlohmann::json::array();
  for (const TextScore& score : scores) {
    out.push_back({{"text", score.text},
                   {"perplexity_before", score.before},
                   {"perplexity_after", score.after},
                   {"divergence", score.divergence},
                   {"same_top", score.same_top}});
  }
  return out;
}

}  // namespace hack::jobs
