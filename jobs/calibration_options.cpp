#include "jobs/calibration_options.hpp"

#include <filesystem>

#include "jobs/model_files.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {

void CalibrationOptions::add_to(CLI::App& app) {
  const std::string group = "Fitting factors to a text";
  app.add_option("--method", method,
                 "feedback: tiles make up for each other's errors; whiten: each tile by its own inputs; plain: the SVD "
                 "of the weights themselves, which ruins a model")
      ->check(CLI::IsMember({"plain", "whiten", "feedback"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--calibration", texts, "UTF-8 texts like those the model is for, never the one it is evaluated on")
      ->group(group);
  app.add_option("--calibration-windows", windows, "Windows of the texts that are used")
      ->check(CLI::Range(1L, 1L << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--calibration-context", context, "Tokens of a window")
      ->check(CLI::Range(2L, 1L << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--sweeps", sweeps, "Sweeps of feedback over the tile columns")
      ->check(CLI::Range(1, 100))
      ->capture_default_str()
      ->group(group);
  app.add_flag("--no-refit", no_refit, "Leave out the closed-form solution for all left factors of a row of tiles")
      ->group(group);
  app.add_option("--damping", damping, "Added to the statistics' diagonal, in parts of its mean")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--inputs", inputs,
         "Inputs that a matrix is fitted to: those that the layers compressed before give, or the dense model's")
      ->check(CLI::IsMember({"compressed", "dense"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--target-share", target_share,
                 "Share of the errors of the layers before that a matrix is to make up for")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--allocation", allocation,
         "How --keep is shared out: loss, over all matrices by what compressing each does to the model; uniform, "
         "each matrix alike, its tiles by their spectra; even, each tile alike")
      ->check(CLI::IsMember({"loss", "uniform", "even"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--allocation-windows", allocation_windows, "Windows of the texts that --allocation loss looks at")
      ->check(CLI::Range(1L, 1L << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--allocation-tokens", allocation_tokens, "Tokens on which it measures losses")
      ->check(CLI::Range(2L, 1L << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--floor", floor, "Least share of an even budget that --allocation loss leaves a matrix")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(group);
  app.add_option("--refine", refine,
                 "Steps of Adam on the factors of each layer's MLP, so that its output meets the dense one's")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--refine-rate", refine_rate, "Rate of the first step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--refine-batch", refine_batch, "Tokens of a step, over all ranks")
      ->check(CLI::Range(1L, 1L << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--seed", seed, "Of the order in which refinement takes tokens")
      ->check(CLI::Range(0L, 1L << 62))
      ->capture_default_str()
      ->group(group);
  app.add_option("--align", align, "Ranks are multiples of this, where the budget allows")
      ->check(CLI::Range(1L, 4096L))
      ->capture_default_str()
      ->group(group);
}

void CalibrationOptions::apply_to(model::LayerwiseOptions& options) const {
  validate(!is_plain(), "--method plain takes no --calibration; leave one of them out");
  validate(
      !texts.empty(),
      "--method {} needs --calibration FILE, a text to fit the factors to. Without one there is only --method plain, "
      "which ruins a model before it saves a byte (SmolLM2-135M at 0.8 of its MLP: perplexity 893 instead of 37)",
      method);
  const bool feedback = method == "feedback";
  options.weighting = {damping, feedback ? sweeps : 0, !no_refit};
  if (refine > 0) {
    validate(inputs == "compressed", "--refine needs --inputs compressed: it makes up for the layers before");
    options.refine = svd::RefineOptions{refine, refine_rate, refine_batch, static_cast<std::uint64_t>(seed)};
  }
  options.align = align;
  options.compressed_inputs = inputs == "compressed";
  options.target_share = options.compressed_inputs ? target_share : 0.0;
}

model::TokenWindows CalibrationOptions::read_windows(const comm::Communicator& world,
                                                     const model::Checkpoint& checkpoint, long first,
                                                     long count) const {
  std::vector<int> ids;
  for (const std::string& path : texts) {
    const std::string text = world.is_root() ? read_text("--calibration", path) : std::string();
    const Encoded encoded = encode_on_root(world, checkpoint, "--calibration " + path, text);
    ids.insert(ids.end(), encoded.ids.begin(), encoded.ids.end());
  }
  model::TokenWindows cut = model::cut_windows(ids, context, first, count);
  validate(first > 0 || cut.count() > 0,
           "--calibration: the texts have {} tokens, fewer than one window of {}; give more text or a smaller "
           "--calibration-context",
           ids.size(), context);
  return cut;
}

nlohmann::json CalibrationOptions::describe() const {
  nlohmann::json names = nlohmann::json::array();
  for (const std::string& path : texts) names.push_back(std::filesystem::path(path).filename().string());
  return {{"calibration", names},
          {"calibration-windows", windows},
          {"calibration-context", context},
          {"sweeps", sweeps},
          {"refit", !no_refit},
          {"damping", damping},
          {"inputs", inputs},
          {"target-share", target_share}};
}

}  // namespace hack::jobs
