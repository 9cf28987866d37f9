#pragma once

#include <deque>
#include <span>
#include <vector>

#include "model/draft/draft_length.hpp"
#include "model/llama/llama.hpp"
#include "model/llama/sampler.hpp"

namespace hack::model {

/// A model and its draft: a cheaper model of the same vocabulary, such as a compressed copy, on the same ranks.
template <Device D>
struct DraftedModel {
  Llama<D>& model;
  Llama<D>& draft;
};

/// Decodes with a draft: it proposes tokens one by one, and the model takes all of them in one pass, which reads its
/// weights once.
///
///     seen …  t    d1   d2   d3         the draft's proposals
///             └─ model: one pass ─┐
///             m1   m2   m3   m4         the model's choice behind each; the first proposals with d_i = m_i stay,
///                                       and the choice behind the last of these is the next token
///
/// Each position has one number drawn for it, with which both choose: the ids are those that the model alone chooses
/// with the same seed, whatever the draft proposes. (Leviathan, Kalman and Matias 2023 accept or draw again, which
/// keeps the distribution alone.) This needs that a token's numbers do not depend on how many go through a pass with
/// it, which holds for the kernels on CPUs.
template <Device D>
class DraftDecoder {
 public:
  /// `capacity`: ids of prompt and text together, for which both caches have room. Both models have one vocabulary.
  /// References outlive this. All functions are collective, and end in an Error where numbers of a model overflow.
  DraftDecoder(const DraftedModel<D>& models, Sampler& sampler, DraftLength& length, index_t capacity);

  /// Reads the prompt, and returns the first new id.
  int first(std::span<const int> prompt);
  /// One pass: the next ids, at least one, the same on every rank.
  std::vector<int> next();

  /// What next() did and took.
  const DraftPass& last_pass() const { return pass_; }

 private:
  std::vector<int> propose(index_t length);
  /// The model's choices behind the last id seen and behind the proposals; as many as hold.
  std::vector<int> choose(std::span<const int> proposals);
  /// choose_on_root() behind `ids` with the draw of the position `ahead` of the next one.
  int choose_behind(const Llama<D>& llama, std::vector<float>& logits, std::span<const int> ids, index_t ahead);
  double draw(index_t ahead);

  DraftedModel<D> models_;
  Sampler& sampler_;
  DraftLength& length_;
  KvCache<D> model_cache_, draft_cache_;
  std::vector<int> seen_;
  std::deque<double> draws_;  // of the positions from the next one on
  DraftPass pass_;
};

}  // namespace hack::model
