#include "model/draft/draft_length.hpp"

#include <algorithm>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr index_t plain_at_first = 2;  // the first pass after a prompt is slower than others
constexpr index_t first_length = 3;    // until the costs are known
constexpr index_t look_again = 64;     // passes after which the way not taken is tried once
constexpr double remembered = 0.98;    // of a sum, from one entry to the next: about 50 count

}  // namespace

double DraftCosts::tokens(index_t proposed) const {
  double sum = 1, power = 1;
  for (index_t i = 0; i < proposed; ++i) sum += power *= acceptance;
  return sum;
}

double DraftCosts::tokens_per_second(index_t proposed) const {
  return tokens(proposed) / (model_seconds + static_cast<double>(proposed) * (draft_seconds + further_seconds));
}

DraftLength::DraftLength(std::optional<index_t> fixed) : fixed_(fixed) {
  HACK_EXPECT(!fixed || (*fixed > 0 && *fixed <= largest));
}

index_t DraftLength::next() const {
  if (passes_ < plain_at_first || since_plain_ >= look_again) return 0;
  if (fixed_) return *fixed_;
  if (draft_.weight == 0) return first_length;
  const index_t length = best();
  return length == 0 && since_drafted_ >= look_again ? 1 : length;
}

void DraftLength::record(const DraftPass& pass) {
  ++passes_;
  ++since_plain_;
  ++since_drafted_;
  if (pass.proposed == 0) {
    since_plain_ = 0;
    if (passes_ > 1) model_.add(pass.model_seconds, 1);
    return;
  }
  since_drafted_ = 0;
  const auto proposed = static_cast<double>(pass.proposed);
  const index_t tried = std::min(pass.accepted + 1, pass.proposed);  // what follows a refused token was not asked for
  accepted_.add(static_cast<double>(pass.accepted) / static_cast<double>(tried), static_cast<double>(tried));
  draft_.add(pass.draft_seconds / proposed, 1);
  further_.add((pass.model_seconds - model_.value()) / proposed, 1);
}

DraftCosts DraftLength::costs() const {
  return {accepted_.value(), draft_.value(), model_.value(), std::max(0.0, further_.value())};
}

index_t DraftLength::best() const {
  const DraftCosts known = costs();
  index_t best = 0;
  for (index_t g = 1; g <= largest; ++g) {
    if (known.tokens_per_second(g) > known.tokens_per_second(best)) best = g;
  }
  return best;
}

void DraftLength::Mean::add(double value, double by) {
  sum = sum * remembered + value * by;
  weight = weight * remembered + by;
}

}  // namespace hack::model
