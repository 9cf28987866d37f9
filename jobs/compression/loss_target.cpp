#include "jobs/compression/loss_target.hpp"

#include <algorithm>
#include <optional>

#include "io/temporary_file.hpp"
#include "kernels/error.hpp"
#include "model/evaluate/model_comparison.hpp"
#include "svd/archive/factor_archive.hpp"

namespace hack::jobs {
namespace {

constexpr int most_attempts = 4;
constexpr double close_enough = 0.9;  // of the target: what is left to gain is about a percent of the bytes
constexpr double caution = 0.97;      // of a corrected aim, so that it falls below the target rather than above it

using Comparison = model::ModelComparison<Device::cpu>;

/// The dense model on the probe window.
Comparison run_dense(const Session& session, const Compressor& compressor, Queue<Device::cpu>& queue,
                     const model::TokenWindows& probe) {
  const model::WindowPlan plan{model::find_protocol("2048"), probe.context, probe.context, {{0, probe.context, 1}}};
  model::Llama<Device::cpu> dense({compressor.checkpoint(), nullptr, compressor.type()}, session.world(), queue);
  return {dense, probe.ids, plan, [](index_t, index_t) {}};
}

double measure(const Session& session, const Compressor& compressor, Queue<Device::cpu>& queue,
               const Comparison& comparison, const std::filesystem::path& archive) {
  const svd::FactorArchive factors(archive);
  model::Llama<Device::cpu> llama({compressor.checkpoint(), &factors, compressor.type()}, session.world(), queue);
  const model::WeightSource dense{compressor.checkpoint(), nullptr, compressor.type()};
  return comparison.compare(llama, dense, [](index_t, index_t) {}).divergence.mean.value;
}

void put_in_place(const Session& session, io::TemporaryFile& file) {
  session.world().barrier();  // all have closed it
  if (session.world().is_root()) {
    file.rename_to_final();
  } else {
    file.release();
  }
  session.world().barrier();
}

}  // namespace

TargetedArchive compress_to_loss(const Session& session, Compressor& compressor, CompressionOptions options,
                                 double target, const std::filesystem::path& output) {
  options.check();
  validate(!options.calibration.is_plain() && options.calibration.allocation == "loss",
           "--target-loss needs measured losses: a --method with --calibration, and --allocation loss");
  const std::vector<model::MatrixSensitivity> measured =
      compressor.sensitivities(options, absolute(output).parent_path());
  const std::vector<svd::MatrixSpectra> spectra = spectra_of(measured);
  Queue<Device::cpu> queue(session.threads());
  const Comparison comparison = run_dense(session, compressor, queue, compressor.probe(options));
  std::optional<TargetedArchive> best;
  double aim = target;
  double correction = 1;  // measured / predicted, of the last attempt
  double loss = 0;
  for (int attempt = 1; attempt <= most_attempts; ++attempt) {
    const double keep = svd::smallest_keep(aim, spectra, allocation_options(options));
    if (best && keep >= best->keep) break;
    options.rule = {svd::RankRule::Kind::keep, keep};
    io::TemporaryFile file(output);
    TargetedArchive made{compressor.run(options, file.path()), keep};
    made.attempts = attempt;
    made.predicted = made.compressed.predicted_loss * correction;
    loss = made.measured = measure(session, compressor, queue, comparison, file.path());
    session.log().info("attempt {}: keep {:.4f}, loss predicted {:.4g}, measured {:.4g} nats a token", attempt, keep,
                       made.predicted, made.measured);
    if (made.compressed.predicted_loss > 0) correction = std::max(loss, 0.0) / made.compressed.predicted_loss;
    if (loss <= target) {
      put_in_place(session, file);
      best = std::move(made);
      if (loss >= close_enough * target) break;
    } else if (keep >= 1) {
      break;
    }
    if (correction <= 0) break;
    aim = caution * target / correction;
  }
  validate(best.has_value(),
           "--target-loss {}: not reached (the last attempt measured {:.4g}); allow a larger loss, or try a wider "
           "--factor-type",
           target, loss);
  return *std::move(best);
}

}  // namespace hack::jobs
