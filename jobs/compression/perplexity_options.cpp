#include "jobs/compression/perplexity_options.hpp"

#include <cstdio>

#include <fmt/core.h>

#include "io/replace_file.hpp"
#include "io/temporary_file.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

/// What --compare takes beside files.
constexpr const char* dense_model = "dense";
/// The protocol of files of base logits.
constexpr const char* base_protocol = "llama.cpp";

/// What each protocol does, in words.
std::string protocol_help() {
  std::string help = "How windows are cut and tokens counted";
  for (const model::Protocol& protocol : model::protocols()) {
    help += fmt::format(". {}: {} tokens, {}; scored: {}", protocol.name, protocol.context, protocol.windows,
                        protocol.scored_tokens);
  }
  return help;
}

}  // namespace

void PerplexityOptions::add_to(CLI::App& app) {
  add_model_options(app, model, archive);
  selection.add_to(app);
  app.add_option("--text", text, "UTF-8 text to score; --compare BASE.kld brings its own")->type_name(input_type);
  protocol_ = app.add_option("--protocol", protocol, protocol_help())
                  ->check(one_of(model::protocol_names()))
                  ->capture_default_str();
  app.add_option("--context", context, "Tokens of a window, in place of the protocol's")->check(whole(2, 1L << 24));
  app.add_option("--stride", stride, "Distance of windows that overlap, in place of the protocol's")
      ->check(whole(1, 1L << 24));
  app.add_option("--windows", windows, "Score at most so many windows")->check(whole(1, 1L << 30));
  app.add_option("--slice", slice, "I/N: score the I-th of N runs of windows, I from 1");
  app.add_option("--per-token", per_token, "Write window,position,token,nll of every scored token")
      ->type_name(output_type);
  app.add_option("--compare", compare,
                 "dense, with --archive: how its next-token distributions differ from the dense model's over the "
                 "same tokens. A file of base logits (llama-perplexity --kl-divergence-base, or --save-all-logits): "
                 "how the model's differ from those, by protocol llama.cpp. Either way KL divergence, same most "
                 "likely token, difference of probabilities and of ln perplexity")
      ->type_name(input_type);
  app.add_flag("--divergence", divergence, "The same as --compare dense")->excludes("--compare");
  app.add_option("--save-all-logits", save_logits,
                 "Write the next-token distributions as a file of base logits, by protocol llama.cpp; about two "
                 "bytes for each token of the vocabulary, for half the tokens of the text")
      ->type_name(output_type);
  lm_eval.add_to(app);
  scoring.add_to(app, "windows");
}

void PerplexityOptions::check() const {
  if (!per_token.empty()) for_option("--per-token", [&] { io::check_replaceable(per_token); });
  lm_eval.check();
  validate(!text.empty() || compares_with_file(),
           "--text names no file (only --compare BASE.kld brings a text of its own); give one to score");
  validate(!compares_with_dense() || !archive.empty(),
           "--compare dense needs --archive: without one the model is the dense one; give an archive, or compare "
           "with a file of base logits");
  validate(save_logits.empty() || scoring.records.empty(),
           "--save-all-logits does not go with --records, which do not hold logits; leave one of them out");
  validate(save_logits.empty() || compare.empty(),
           "--save-all-logits does not go with --compare; run one after the other");
  validate(!implies_llama_cpp() || protocol_->count() == 0 || protocol == base_protocol,
           "--protocol {}: files of base logits are of protocol llama.cpp; leave --protocol out", protocol);
  if (!save_logits.empty()) {
    for_option("--save-all-logits", [&] { io::place_of(save_logits); });
  }
  validate(!lm_eval.is_wanted() || protocol == "lm-eval",
           "--lm-eval-report holds figures of protocol lm-eval; add --protocol lm-eval");
}

bool PerplexityOptions::compares_with_dense() const { return divergence || compare == dense_model; }

const model::Protocol& PerplexityOptions::chosen_protocol() const {
  return model::find_protocol(implies_llama_cpp() ? base_protocol : protocol);
}

model::WindowPlan PerplexityOptions::sliced(const model::WindowPlan& plan) const {
  if (slice.empty()) return plan;
  long part = 0, parts = 0;
  char after = 0;
  validate(std::sscanf(slice.c_str(), "%ld/%ld%c", &part, &parts, &after) == 2 && part >= 1 && part <= parts,
           "--slice {} is no slice; give I/N with I from 1 to N", slice);
  return for_option("--slice " + slice, [&] { return model::slice_of(plan, part - 1, parts); });
}

}  // namespace hack::jobs
