#include "model/heal/healer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "comm/collectives.hpp"
#include "io/byte_stream.hpp"
#include "kernels/error.hpp"
#include "kernels/gradient.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::model {
namespace {

HealOptions checked(HealOptions options, index_t windows) {
  validate(options.steps >= 0, "{} steps of training are impossible; use 0, 1, 2, …", options.steps);
  validate(options.rate > 0 && std::isfinite(options.rate),
           "a training at the rate {} is impossible; use a small number above 0, such as 6e-5", options.rate);
  validate(windows >= 2,
           "the text has {} windows of {} tokens (one is held out, and one more is needed to train on); give a longer "
           "text or shorter windows",
           windows, options.window);
  options.held_out = std::clamp<index_t>(options.held_out, 1, std::max<index_t>(1, windows / 4));
  return options;
}

}  // namespace

template <Device D>
Healer<D>::Healer(const comm::ProcessGrid& grid, ModelGradient<D>& model, Queue<Device::cpu>& queue,
                  const TokenWindows& text, const HealOptions& options)
    : grid_(grid),
      model_(model),
      queue_(queue),
      text_(text),
      options_(checked(options, text.count())),
      layout_(model.matrices()) {
  const auto size = static_cast<std::size_t>(layout_.size());
  for (std::vector<float>* numbers : {&parameters_, &gradients_, &mean_, &square_}) numbers->assign(size, 0.0f);
  for (std::size_t m = 0; m < model.matrices().size(); ++m) {
    model.matrices()[m]->place(layout_.place(m, parameters_.data()), layout_.place(m, gradients_.data()));
  }
}

/// The mean divergence of the held-out windows, which are dealt to the copies of the model.
template <Device D>
double Healer<D>::judge() {
  std::vector<double> sums(static_cast<std::size_t>(options_.held_out));
  const auto copies = static_cast<std::size_t>(grid_.data().size());
  for (auto w = static_cast<std::size_t>(grid_.data().rank()); w < sums.size(); w += copies) {
    sums[w] = model_.divergence(text_.window(training_windows() + static_cast<index_t>(w)));
  }
  comm::all_reduce_sum(grid_.data(), std::span(sums));
  double sum = 0;
  for (const double of_window : sums) sum += of_window;
  return sum / static_cast<double>(options_.held_out * text_.context);
}

template <Device D>
double Healer<D>::rate_of(int step) const {
  const int warm = std::max(1, options_.steps / 10);
  if (step < warm) return options_.rate * (step + 1) / warm;
  const double done = static_cast<double>(step - warm) / std::max(1, options_.steps - warm);
  return options_.rate * (1 + std::cos(std::numbers::pi * done)) / 2;
}

/// Takes step `step` (0, 1, …) of Adam down the gradient of the next windows; the mean divergence of their tokens.
template <Device D>
double Healer<D>::descend(int step) {
  const index_t windows = options_.windows_a_step();
  const index_t first = static_cast<index_t>(step) * windows;
  const auto tokens = static_cast<double>(windows * text_.context);
  std::ranges::fill(gradients_, 0.0f);
  double sum = 0;
  for (index_t w = grid_.data().rank(); w < windows; w += grid_.data().size()) {
    sum += model_.differentiate(text_.window((first + w) % training_windows()), static_cast<float>(1 / tokens));
  }
  layout_.sum(grid_, gradients_.data());
  const double norm = layout_.norm(grid_, gradients_.data());
  if (norm > options_.clip) {
    const auto scale = static_cast<float>(options_.clip / norm);
    for (float& gradient : gradients_) gradient *= scale;
  }
  // The decay 0.98 of the squares suits some hundred steps: 0.999 would remember the first ones.
  kernels::adam<Device::cpu>(queue_, {.rate = rate_of(step), .number = step + 1, .square_decay = 0.98},
                             gradients_.data(), mean_.data(), square_.data(), parameters_.data(), layout_.size());
  return comm::all_reduce_sum(grid_.data(), sum) / tokens;
}

template <Device D>
void Healer<D>::keep(double divergence, int step) {
  report_.after = divergence;
  report_.best_step = step;
  best_ = parameters_;
}

template <Device D>
void Healer<D>::save(comm::Journal& journal, int step) {
  io::PieceWriter state;
  state.put(step);
  state.put(report_.before);
  state.put(report_.after);
  state.put(report_.best_step);
  for (const std::vector<float>* numbers : {&parameters_, &mean_, &square_, &best_}) state.put(*numbers);
  journal.append(std::string("step ") + std::to_string(step), state.pieces());
}

/// Takes up what the journal has; the steps that are done.
template <Device D>
int Healer<D>::take_up(const comm::Journal& journal) {
  const std::string bytes = journal.state();
  io::ByteReader state(bytes);
  const int step = state.get<int>();
  report_ = {state.get<double>(), state.get<double>(), state.get<int>()};
  for (std::vector<float>* numbers : {&parameters_, &mean_, &square_, &best_}) {
    const std::vector<float> from = state.get_vector<float>();
    validate(from.size() == numbers->size() || numbers == &best_, "the state of a training is of another model");
    // In place: the matrices know where their parameters are.
    numbers->resize(from.size());
    std::ranges::copy(from, numbers->begin());
  }
  return step;
}

template <Device D>
HealReport Healer<D>::run(comm::Journal* journal) {
  int step = 0;
  if (journal != nullptr && journal->steps() > 0) {
    step = take_up(*journal);
  } else {
    report_.before = judge();
    validate(std::isfinite(report_.before),
             "the compressed model's divergence from the dense one is not finite; check both");
    keep(report_.before, 0);
    if (options_.on_judged) options_.on_judged(0, report_.before);
  }
  while (step < options_.steps) {
    const Stopwatch watch;
    const double rate = rate_of(step), divergence = descend(step);
    ++step;
    if (options_.on_step) options_.on_step({step, divergence, rate, watch.seconds()});
    if (step % options_.judge_every != 0 && step != options_.steps) continue;
    const double judged = judge();
    if (options_.on_judged) options_.on_judged(step, judged);
    if (!std::isfinite(judged)) break;
    if (judged < report_.after) keep(judged, step);
    if (journal != nullptr) save(*journal, step);
  }
  return report_;
}

template <Device D>
std::vector<float> Healer<D>::parameters(std::size_t matrix) const {
  // Places are read only.
  auto* numbers = const_cast<float*>(best_.data());
  std::vector<float> whole = model_.matrices()[matrix]->answered(layout_.place(matrix, numbers));
  Queue<Device::cpu> queue(1);
  if (grid_.tensor().size() > 1 && !whole.empty()) {
    comm::all_reduce_sum<Device::cpu>(grid_.tensor(), queue, {whole.data(), 1, std::ssize(whole)});
  }
  return whole;
}

template class Healer<Device::cpu>;
template class Healer<Device::cuda>;

}  // namespace hack::model
