#include "jobs/compression/healing.hpp"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/hash.hpp"
#include "io/last_words.hpp"
#include "jobs/compression/evaluation.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/system_info.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/calibration/text_sketch.hpp"
#include "model/heal/heal_memory.hpp"
#include "model/heal/healed_archive.hpp"
#include "model/heal/healer.hpp"

namespace hack::jobs {
namespace {

/// The windows of all texts, text after text.
model::TokenWindows read_windows(const Session& session, const model::Checkpoint& checkpoint,
                                 const HealingOptions& options) {
  model::TokenWindows all{{}, options.training.window};
  for (const std::string& path : options.texts) {
    const std::string text = session.world().is_root() ? read_text(options.text_option, path) : std::string();
    const Encoded encoded = encode_on_root(session.world(), checkpoint, options.text_option + " " + path, text);
    const model::TokenWindows windows = model::cut_windows(encoded.ids, all.context, 0, std::ssize(encoded.ids));
    all.ids.insert(all.ids.end(), windows.ids.begin(), windows.ids.end());
  }
  return all;
}

/// How many ranks share a copy of the model: as few as leave a window of every step to each copy.
int tensor_size(const Session& session, const HealingOptions& options) {
  if (options.tensor_parallel > 0) return options.tensor_parallel;
  const int ranks = session.world().size();
  int copies = 1;
  for (int n = 1; n <= ranks; ++n) {
    if (ranks % n == 0 && n <= options.training.windows_a_step()) copies = n;
  }
  return ranks / copies;
}

/// What decides over the numbers beside model, archive, text and grid.
nlohmann::json describe(const Session& session, const HealingOptions& options) {
  const model::HealOptions& training = options.training;
  return {{"steps", training.steps},
          {"rate", training.rate},
          {"batch", training.batch},
          {"context", training.window},
          {"texts", options.texts},
          {"dtype", session.options().dtype},
          {"products", session.options().products}};
}

/// What a journal's state depends on.
std::string key_of(const ModelFiles& files, const model::TokenWindows& windows, const nlohmann::json& described,
                   const comm::ProcessGrid& grid) {
  io::Hash key;
  key.add(files.checkpoint().fingerprint());
  for (const std::string& name : files.archive()->matrices()) {
    key.add(name);
    for (const svd::TermEntry& term : files.archive()->matrix(name).terms) key.add(static_cast<index_t>(term.digest));
  }
  key.add(std::as_bytes(std::span(windows.ids)));
  key.add(described.dump());
  key.add(static_cast<index_t>(grid.tensor().size()));
  return key.digits();
}

/// What an archive says of its making, this training included: its sketch is of all texts that it was made with.
std::string options_of_healed(const svd::FactorArchive& archive, const model::TokenWindows& windows,
                              const nlohmann::json& described) {
  nlohmann::json made = nlohmann::json::parse(archive.info().header.options, nullptr, false);
  if (!made.is_object()) made = nlohmann::json::object();
  made["heal"] = described;
  model::TextSketch sketch(windows.ids, windows.context);
  if (made.contains(sketch_key) && made[sketch_key].is_string()) {
    sketch.add(model::TextSketch::from_digits(made[sketch_key].get<std::string>()));
  }
  made[sketch_key] = sketch.digits();
  return made.dump();
}

/// Says now and then how far the training is.
class StepMessages {
 public:
  StepMessages(const Log& log, int steps) : log_(log), steps_(steps) {}

  void tell(const model::HealProgress& step) {
    if (first_ < 0) first_ = step.step - 1;
    mean_ = step.step - 1 == first_ ? step.divergence : 0.9 * mean_ + 0.1 * step.divergence;
    const double seconds = watch_.seconds();
    if (step.step != steps_ && seconds - last_ < 10) return;
    last_ = seconds;
    const double left = seconds / (step.step - first_) * (steps_ - step.step);
    log_.info("heal: step {} of {}, divergence {:.5f} nats a token, rate {:.2g}, {} left", step.step, steps_, mean_,
              step.rate, format_seconds(left));
  }

 private:
  const Log& log_;
  int steps_;
  int first_ = -1;
  double mean_ = 0, last_ = 0;
  Stopwatch watch_;
};

/// What the rank that needs most is going to need, with what the program has now.
double expected_memory(const Session& session, const ModelFiles& files, const model::TokenWindows& windows,
                       const comm::ProcessGrid& grid) {
  const model::HealMemory memory = model::heal_memory({files.checkpoint(),
                                                       *files.archive(),
                                                       held_type(session, files),
                                                       windows.context,
                                                       session.threads(),
                                                       {grid.tensor().rank(), grid.tensor().size()}});
  const double most = comm::all_reduce_max(session.world(), peak_memory_bytes() + memory.total());
  session.log().info("heal: at most {:.0f} MiB of memory each by the formula", most / (1 << 20));
  return most;
}

template <Device D>
Healed heal_on(Session& session, const ModelFiles& files, const HealingOptions& options, const std::string& output) {
  const Stopwatch watch;
  const nlohmann::json described = describe(session, options);
  const model::TokenWindows windows = read_windows(session, files.checkpoint(), options);
  const comm::ProcessGrid grid = for_option(fmt::format("--tensor-parallel {}", options.tensor_parallel), [&] {
    return comm::ProcessGrid(session.world(), tensor_size(session, options));
  });
  const double memory = expected_memory(session, files, windows, grid);
  Queue<D> queue(session.threads(), session.products());
  Queue<Device::cpu> host(session.threads());
  model::ModelGradient<D> gradient(
      files.checkpoint(), *files.archive(), grid.tensor(), queue,
      {held_type(session, files), windows.context, session.products() == Products::exact ? DType::f32 : DType::bf16});
  model::HealOptions training = options.training;
  StepMessages messages(session.log(), training.steps);
  double step_seconds = 0;
  int steps = 0;
  training.on_step = [&](const model::HealProgress& step) {
    messages.tell(step);
    step_seconds += step.seconds;
    ++steps;
  };
  training.on_judged = [&](int step, double divergence) {
    session.log().info("heal: {:.5f} nats a token on held-out windows after {} steps", divergence, step);
  };
  model::Healer<D> healer(grid, gradient, host, windows, training);
  files.checkpoint().share_fingerprint(session.world(), session.threads());
  comm::Journal journal(session.world(), output + ".heal", key_of(files, windows, described, grid), options.resume);
  std::optional<io::LastWords> last_words;
  if (session.world().is_root()) {
    last_words.emplace(fmt::format(
        "ended by a signal; the state of the training stands in {}.heal, the same command with --resume goes on after "
        "it",
        output));
  }
  if (journal.steps() > 0) session.log().info("resume: going on after {}", journal.record(journal.steps() - 1));
  Healed healed{.report = healer.run(&journal),
                .parameters = healer.parameter_count(),
                .tensor_parallel = grid.tensor().size(),
                .data_parallel = grid.data().size(),
                .memory = memory};
  const auto& matrices = gradient.matrices();
  const auto parameters = [&](const std::string& name) {
    const auto found = std::ranges::find(matrices, name, [](const auto* matrix) { return matrix->name(); });
    return found == matrices.end() ? std::vector<float>() : healer.parameters(found - matrices.begin());
  };
  model::write_healed(session.world(), *files.archive(), parameters,
                      options_of_healed(*files.archive(), windows, described), output);
  journal.remove();
  healed.seconds = watch.seconds();
  healed.seconds_a_step = steps > 0 ? step_seconds / steps : 0;
  return healed;
}

}  // namespace

void HealingOptions::add_to(CLI::App& app, int steps) {
  training.steps = steps;
  app.add_option("--heal", training.steps,
                 "Steps that train all numbers of the compressed matrices (factors, scales, minima) so that the "
                 "model's next-token distributions meet the dense model's; the best state on held-out windows is kept")
      ->check(whole(0, 1L << 30))
      ->capture_default_str();
  app.add_option("--heal-rate", training.rate, "Rate of Adam behind the warm-up; rates above 1e-4 can do harm")
      ->check(number_above(0, 1))
      ->capture_default_str();
  app.add_option("--heal-batch", training.batch, "Tokens of a step, on all ranks together")
      ->check(whole(1, 1L << 40))
      ->capture_default_str();
  app.add_option("--heal-context", training.window, "Tokens of a window")
      ->check(whole(2, 1L << 24))
      ->capture_default_str();
}

Healed heal(Session& session, const ModelFiles& files, const HealingOptions& options, const std::string& output) {
  validate(!files.archive()->info().compression.keeps_vectors(),
           "{} keeps vectors for ranks that are chosen later (there is nothing to train yet); make an archive of it "
           "with hack compress {} --keep R",
           files.archive()->path().string(), files.archive()->path().string());
  try {
    return with_device(session, [&]<Device D>() { return heal_on<D>(session, files, options, output); });
  } catch (const comm::ResumeError& error) {
    fail("{}; run it as it was begun, or leave out --resume to begin anew", error.what());
  }
}

nlohmann::json report_healed(const Healed& healed, const HealingOptions& options, const std::string& output) {
  const model::HealReport& report = healed.report;
  fmt::print("{}: divergence {:.5f} nats a token on held-out windows, {:.5f} before ({} steps, best after {})\n",
             output, report.after, report.before, options.training.steps, report.best_step);
  fmt::print("  {}, {} a step; {} numbers on rank 0, tensor x data {} x {}\n", format_seconds(healed.seconds),
             format_seconds(healed.seconds_a_step), healed.parameters, healed.tensor_parallel, healed.data_parallel);
  return {{"divergence_before", report.before},
          {"divergence_after", report.after},
          {"best_step", report.best_step},
          {"steps", options.training.steps},
          {"parameters_on_rank_0", healed.parameters},
          {"tensor_parallel", healed.tensor_parallel},
          {"data_parallel", healed.data_parallel},
          {"memory_formula_bytes", healed.memory},
          {"seconds", healed.seconds},
          {"seconds_a_step", healed.seconds_a_step},
          {"archive", output}};
}

}  // namespace hack::jobs
