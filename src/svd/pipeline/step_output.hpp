#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/compress_report.hpp"
#include "svd/pipeline/phase_clock.hpp"

namespace hack::svd {

/// What a step of a fit hands its matrices to, and by which it measures its work. Parts go into the archive at once;
/// where a journal is to have them, they stay here as well until the step is over.
class StepOutput {
 public:
  /// Told of the share of the step that is done.
  using Progress = std::function<void(double share)>;

  /// The references outlive this. `keeps_parts`: for a journal.
  StepOutput(FactorArchiveWriter& writer, PhaseClock& clock, Progress progress, bool keeps_parts)
      : writer_(writer), clock_(clock), progress_(std::move(progress)), keeps_parts_(keeps_parts) {}

  /// Does work of a phase that all ranks do together or alike.
  template <class F>
  auto measure(const std::string& phase, F work) {
    return clock_.measure(phase, std::move(work));
  }

  /// Does this rank's share of the work: an exception on one rank becomes the same Error on all, and what the others
  /// take longer counts as idle. Collective.
  template <class F>
  void measure_share(const std::string& phase, F part) {
    measures_idle_ = true;
    clock_.measure_together(phase, std::move(part));
  }

  /// Seconds that this rank has spent in a phase, over all steps.
  double seconds(const std::string& phase) const { return clock_.seconds(phase); }

  /// An estimate from this rank's work; 1 need not be told.
  void tell_progress(double share) const { progress_(share); }

  /// Writes this rank's tiles of a matrix. Collective.
  void write(MatrixPart part) {
    clock_.measure("archive", [&] { writer_.write(part); });
    if (keeps_parts_) parts_.push_back(std::move(part));
  }

  /// What is to be said of the matrices written; the step adds to it.
  StepReport& report() { return report_; }

  std::vector<MatrixPart> take_parts() { return std::move(parts_); }
  bool measures_idle() const { return measures_idle_; }

 private:
  FactorArchiveWriter& writer_;
  PhaseClock& clock_;
  Progress progress_;
  bool keeps_parts_;
  bool measures_idle_ = false;
  std::vector<MatrixPart> parts_;
  StepReport report_;
};

}  // namespace hack::svd
