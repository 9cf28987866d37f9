#include "jobs/compression/calibration_options.hpp"

#include <filesystem>
#include <random>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/compression/model_files.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {

namespace {

constexpr const char* group = "Fitting factors to a text";

}  // namespace

void CalibrationOptions::add_to(CLI::App& app) {
  add_fit_to(app);
  add_allocation_to(app);
  add_refinement_to(app);
  app.add_option("--seed", seed, "Of the order in which refinement takes tokens, and of random ids")
      ->check(whole(0, largest_seed))
      ->capture_default_str()
      ->group(group);
  app.add_option("--align", align, "Ranks are multiples of this, where the budget allows")
      ->check(whole(1, 4096))
      ->capture_default_str()
      ->group(group);
}

void CalibrationOptions::add_fit_to(CLI::App& app) {
  app.add_option("--method", method,
                 "feedback: error feedback between tiles, which make up for each other's errors; whiten: each tile by "
                 "its own inputs; plain: the SVD of the weights themselves, which ruins a model")
      ->check(one_of({"plain", "whiten", "feedback"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--calibration", texts, "UTF-8 texts like those the model is for, never the one it is evaluated on")
      ->type_name(input_type)
      ->group(group);
  app.add_option("--calibration-windows", windows, "Windows of the texts that are used")
      ->check(whole(1, 1L << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--calibration-context", context, "Tokens of a window")
      ->check(whole(2, 1L << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--sweeps", sweeps, "Sweeps of error feedback over the tile columns")
      ->check(whole(1, 100))
      ->capture_default_str()
      ->group(group);
  app.add_flag("--no-refit", no_refit, "Leave out the closed-form solution for all left factors of a row of tiles")
      ->group(group);
  app.add_option("--damping", damping, "Added to the statistics' diagonal, in parts of its mean")
      ->check(number(0, 1))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--token-power", token_power,
         "What errors of a token count: the size of its residual stream to the power of -2 P; 1, relative to that "
         "size; 0, all tokens alike")
      ->check(number(0, 1))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--inputs", inputs,
         "Inputs that a matrix is fitted to: outputs of the layers compressed before, or the dense model's inputs")
      ->check(one_of({"compressed", "dense"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--target-share", target_share,
                 "Share of the errors of the layers before that a matrix is to make up for; 0.5 unless given, and 0.25 "
                 "of quantized tiles")
      ->check(number(0, 1))
      ->group(group);
}

void CalibrationOptions::add_allocation_to(CLI::App& app) {
  app.add_option(
         "--allocation", allocation,
         "How --keep is shared out: loss, over all matrices by what compressing each does to the model; uniform, "
         "each matrix alike, its tiles by their spectra; even, each tile alike")
      ->check(one_of({"loss", "uniform", "even"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--allocation-windows", allocation_windows, "Windows of the texts that --allocation loss looks at")
      ->check(whole(1, 1L << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--allocation-tokens", allocation_tokens, "Tokens on which it measures losses")
      ->check(whole(2, 1L << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--floor", floor, "Least share of an even budget that --allocation loss leaves a matrix")
      ->check(number(0, 1))
      ->capture_default_str()
      ->group(group);
}

void CalibrationOptions::add_refinement_to(CLI::App& app) {
  app.add_option("--refine", refine,
                 "Steps of Adam on each layer's MLP, its factors or its codes and scales, so that its output meets the "
                 "dense one's")
      ->check(whole(0, 1L << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--refine-rate", refine_rate,
                 "Rate of the first step; scales of codes change by as much, codes by twenty times a step")
      ->check(number_above(0, 1))
      ->capture_default_str()
      ->group(group);
  app.add_option("--refine-batch", refine_batch, "Tokens of a step, over all ranks")
      ->check(whole(1, 1L << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--refine-products", refine_products,
                 "What refinement may round numbers to before it multiplies them; sums and parameters are f32")
      ->check(one_of({"f32", "bf16"}))
      ->capture_default_str()
      ->group(group);
}

void CalibrationOptions::check() const {
  if (is_plain()) {
    validate(texts.empty(), "--method plain takes no --calibration (given: {}); leave one of them out",
             fmt::join(texts, ", "));
    validate(refine == 0, "--method plain takes no --refine: there is no text to refine on; leave one of them out");
    return;
  }
  validate(
      !texts.empty() || random_ids > 0,
      "--method {} needs --calibration FILE, a text to fit the factors to. Without one there is only --method plain, "
      "which ruins a model before it saves a byte (SmolLM2-135M at 0.8 of its MLP: perplexity 641 instead of 34)",
      method);
  validate(refine == 0 || inputs == "compressed",
           "--refine {} needs --inputs compressed (given: {}): it makes up for the layers before", refine, inputs);
}

void CalibrationOptions::apply_to(model::LayerwiseOptions& options, bool quantized) const {
  options.weighting = {damping, method == "feedback" ? sweeps : 0, !no_refit};
  if (refine > 0) {
    options.refine = svd::RefineOptions{.steps = refine,
                                        .rate = refine_rate,
                                        .batch = refine_batch,
                                        .seed = static_cast<std::uint64_t>(seed),
                                        .products = refine_products == "bf16" ? DType::bf16 : DType::f32};
  }
  options.align = align;
  options.token_power = token_power;
  options.compressed_inputs = inputs == "compressed";
  options.target_share = options.compressed_inputs ? share_of_targets(quantized) : 0.0;
}

std::vector<int> CalibrationOptions::read_tokens(const comm::Communicator& world,
                                                 const model::Checkpoint& checkpoint) const {
  std::vector<int> ids;
  if (random_ids > 0) {
    std::mt19937_64 random(static_cast<std::uint64_t>(seed));
    const auto below = static_cast<std::uint64_t>(random_ids);
    for (long i = 0; i < (windows + 1) * context; ++i) ids.push_back(static_cast<int>(random() % below));
    return ids;
  }
  for (const std::string& path : texts) {
    const std::string text = world.is_root() ? read_text("--calibration", path) : std::string();
    const Encoded encoded = encode_on_root(world, checkpoint, "--calibration " + path, text);
    ids.insert(ids.end(), encoded.ids.begin(), encoded.ids.end());
  }
  validate(std::ssize(ids) >= context,
           "--calibration {}: {} tokens are fewer than one window of {}; give more text or a smaller "
           "--calibration-context",
           fmt::join(texts, ", "), ids.size(), context);
  return ids;
}

nlohmann::json CalibrationOptions::describe(bool has_budget, bool quantized) const {
  nlohmann::json names = nlohmann::json::array();
  for (const std::string& path : texts) names.push_back(std::filesystem::path(path).filename().string());
  nlohmann::json how = {{"calibration", names},
                        {"calibration-windows", windows},
                        {"calibration-context", context},
                        {"refit", !no_refit},
                        {"damping", damping},
                        {"token-power", token_power},
                        {"inputs", inputs},
                        {"target-share", share_of_targets(quantized)}};
  if (method == "feedback") how["sweeps"] = sweeps;
  if (random_ids > 0) {
    how["calibration"] = "random ids";
    how["seed"] = seed;
  }
  if (refine > 0) {
    how["refine"] = refine;
    how["refine-rate"] = refine_rate;
    how["refine-batch"] = refine_batch;
    how["refine-products"] = refine_products;
    how["seed"] = seed;
  }
  if (!has_budget) return how;
  how["allocation"] = allocation;
  how["align"] = align;
  if (allocation == "loss") {
    how["allocation-windows"] = allocation_windows;
    how["allocation-tokens"] = allocation_tokens;
    how["floor"] = floor;
  }
  return how;
}

}  // namespace hack::jobs
