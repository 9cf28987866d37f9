#pragma once

#include <string>
#include <vector>

#include "comm/journal.hpp"
#include "comm/process_grid.hpp"
#include "model/calibration/token_windows.hpp"
#include "model/heal/heal_options.hpp"
#include "model/heal/model_gradient.hpp"
#include "model/heal/parameter_vector.hpp"

namespace hack::model {

/// Trains all continuous numbers of an archive's terms so that the compressed model's next-token distributions meet the
/// dense model's: Adam (Kingma and Ba 2015, arXiv 1412.6980) on f32 masters, a linear warm-up over the first tenth of
/// the steps, then half a cosine, gradients clipped by their norm. The forward pass takes the numbers as the archive
/// will store them.
///
/// Windows of the text are taken in order, again from the first one behind the last; those of a step are dealt to the
/// copies of the model in turn, and gradients are summed in the order of the ranks. The result depends on text, options
/// and grid, not on threads. Held-out windows judge the parameters before the first step, every few steps and after the
/// last; the best ones are kept.
template <Device D>
class Healer {
 public:
  /// An Error states which of the options is impossible, or that the text is too short. References outlive this.
  Healer(const comm::ProcessGrid& grid, ModelGradient<D>& model, Queue<Device::cpu>& queue, const TokenWindows& text,
         const HealOptions& options);

  /// Trains. With a journal, of options, text and grid like these, it goes on where that ends, and adds to it whenever
  /// parameters are judged. Collective.
  HealReport run(comm::Journal* journal);

  /// Of this rank.
  index_t parameter_count() const { return layout_.size(); }

  /// The kept parameters of a whole matrix, tile after tile, on every rank. Collective.
  std::vector<float> parameters(std::size_t matrix) const;

 private:
  index_t training_windows() const { return text_.count() - options_.held_out; }
  double judge();
  double descend(int step);
  double rate_of(int step) const;
  void keep(double divergence, int step);
  void save(comm::Journal& journal, int step);
  int take_up(const comm::Journal& journal);

  const comm::ProcessGrid& grid_;
  ModelGradient<D>& model_;
  Queue<Device::cpu>& queue_;
  const TokenWindows& text_;
  HealOptions options_;
  ParameterVector layout_;
  std::vector<float> parameters_, gradients_, mean_, square_, best_;  // (parameters of this rank)
  HealReport report_;
};

}  // namespace hack::model
