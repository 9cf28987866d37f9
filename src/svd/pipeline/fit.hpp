#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/journal.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/pipeline/step_memory.hpp"
#include "svd/pipeline/step_output.hpp"

namespace hack::svd {

/// Some matrices that a fit takes from their numbers to the archive together, and that a journal keeps together.
class FitStep {
 public:
  virtual ~FitStep() = default;

  /// How much of the fit's size() it is.
  virtual index_t size() const = 0;

  virtual StepMemory memory() const = 0;

  /// What a thread of its own may do while the step before is made; it talks to no other rank. Nothing where there is
  /// no such work.
  virtual std::function<void()> reading() { return {}; }

  /// Makes the tiles of all its matrices and hands them to `output`. Called once, after reading() is done. Collective.
  virtual void make(StepOutput& output) = 0;

  /// What the steps behind this one go on from, once it is made. Valid until the next step is made.
  virtual comm::Journal::Pieces state() { return {}; }
};

/// A way to find the terms of matrices. The pipeline, compress(), asks it for one step after the other; every rank has
/// the same fit, and all calls but a step's reading() are made by all ranks in the same order.
class Fit {
 public:
  virtual ~Fit() = default;

  /// How its tiles are stored.
  virtual const CompressOptions& storage() const = 0;

  /// What progress is counted in: tiles, or layers.
  virtual index_t size() const = 0;

  /// The next step, or null after the last. Asked for while the one before is made, or already recorded in a journal;
  /// the matrices of a step do not depend on measured times, so that a run which resumes has the same steps. A step
  /// does not outlive its fit.
  virtual std::unique_ptr<FitStep> next() = 0;

  /// Called at first where a journal has steps: they are asked for but not made. `state` is what the last of them left.
  virtual void resume(index_t /*steps*/, const std::string& /*state*/) {}

  /// Called behind the last step. Collective.
  virtual void finish() {}
};

}  // namespace hack::svd
