#pragma once

#include <functional>

#include "kernels/dtype.hpp"

namespace hack::model {

/// A state of the training, for progress.
struct HealProgress {
  int step = 0;           ///< that is done
  double divergence = 0;  ///< mean of the step's tokens, in nats
  double rate = 0;        ///< of the step
  double seconds = 0;     ///< that it took
};

/// How a compressed model is trained against the dense one.
struct HealOptions {
  int steps = 240;
  double rate = 6e-5;     ///< of Adam behind the warm-up; falls to 0 as half a cosine (Loshchilov and Hutter 2017)
  index_t batch = 1024;   ///< tokens of a step, on all ranks together
  index_t window = 1024;  ///< tokens of a window; a step takes batch / window of them, at least one
  double clip = 1;        ///< the largest norm of a step's gradient
  index_t held_out = 4;   ///< windows at the text's end that judge, not trained on; at most a quarter
  int judge_every = 20;   ///< steps from one judgement, and state on disk, to the next
  std::function<void(const HealProgress&)> on_step = nullptr;
  /// After so many steps the held-out windows have this divergence.
  std::function<void(int step, double divergence)> on_judged = nullptr;

  index_t windows_a_step() const { return batch > window ? batch / window : 1; }
};

/// Divergences are means of KL(dense ‖ compressed) over the tokens of the held-out windows, in nats.
struct HealReport {
  double before = 0;
  double after = 0;   ///< never above `before`
  int best_step = 0;  ///< after how many steps the parameters were best; they are kept
};

}  // namespace hack::model
