#include "model/heal/heal_memory.hpp"

#include <algorithm>

#include "model/llama/memory_need.hpp"
#include "model/llama/names.hpp"
#include "svd/train/matrix_cut.hpp"
#include "svd/train/trained_matrix.hpp"

namespace hack::model {
namespace {

constexpr double f32_bytes = sizeof(float);
constexpr index_t logit_tokens = 128;               // of a chunk of HeadGradient
constexpr index_t attention_rows = 64;              // queries whose scores are in memory at once
constexpr index_t rounded_rows = 512;               // that a product rounds at once
constexpr index_t product_numbers = 3 * 384 * 336;  // of a thread's packed and widened panels, and its sums

/// Counts of one rank's share of a compressed matrix.
struct Share {
  double stored = 0;  ///< bytes of the terms
  index_t parameters = 0;
  index_t factors = 0;  ///< numbers of the terms' whole factors
};

Share share_of(const svd::MatrixTable& table, const svd::MatrixCut& cut) {
  Share share;
  const auto add = [&](std::span<const svd::TermEntry> terms, const svd::Tile& at) {
    const std::vector<int> ranks = cut.ranks_of(at);
    if (ranks.size() < 2 && (ranks.empty() || ranks.front() != cut.own)) return;
    for (const svd::TermEntry& term : terms) {
      const svd::TermArrays arrays(term.structure, term.codec, at.height, at.width, term.rank);
      for (std::size_t a = 0; a < arrays.size(); ++a) share.stored += static_cast<double>(arrays[a].bytes());
      share.parameters += svd::parameter_count(term, at.height, at.width);
      if (term.structure != svd::Structure::dense) share.factors += term.rank * (at.height + at.width);
    }
  };
  for (index_t t = 0; t < table.grid.size(); ++t) add(table.terms_of(t), table.grid.tile(t));
  add(table.whole_terms(), {0, 0, 0, 0, table.grid.rows(), table.grid.cols()});
  return share;
}

class Sum {
 public:
  explicit Sum(const HealShape& shape) : shape_(shape), config_(shape.checkpoint.config()) {
    for (int part = 0; part < shape.slice.parts; ++part) {
      plans_.push_back(ShardPlan::make(config_, &shape.archive, shape.slice.parts, part));
    }
  }

  HealMemory run() {
    add_dense();
    for (index_t layer = 0; layer < config_.layers; ++layer) add_layer(layer);
    memory_.layer += f32_bytes * static_cast<double>(largest_matrix_ + largest_transient_);
    add_vocabulary();
    add_activations();
    return memory_;
  }

 private:
  const ShardPlan& plan() const { return plans_[static_cast<std::size_t>(shape_.slice.part)]; }

  void add_dense() {
    RunShape run{.context = shape_.window, .threads = shape_.threads};
    if (shape_.type) {
      run.type = *shape_.type;
    } else {
      run.stored = &shape_.checkpoint;
    }
    memory_.dense = memory_need(config_, run, shape_.slice.parts, shape_.slice.part).total();
  }

  void add_layer(index_t layer) {
    double open = 0;
    for (const LayerTensor& tensor : layer_tensors) {
      if (!std::holds_alternative<Linear>(tensor.which) || !tensor.has_weight(config_)) continue;
      svd::MatrixCut cut{{}, shape_.slice.part};
      for (const ShardPlan& plan : plans_) {
        cut.blocks.push_back({plan.own(tensor.rows, config_, layer), plan.own(tensor.cols, config_, layer)});
      }
      open += add_matrix(weight_name(layer, std::get<Linear>(tensor.which)), cut);
    }
    memory_.layer = std::max(memory_.layer, open);
    widest_ = std::max(widest_, plan().own(Extent::intermediate, config_, layer).size());
  }

  /// Returns the bytes of the matrix while its layer is open.
  double add_matrix(const std::string& name, const svd::MatrixCut& cut) {
    const index_t numbers = cut.block().rows.size() * cut.block().cols.size();
    if (!shape_.archive.contains(name)) {
      memory_.compressed += f32_bytes * static_cast<double>(numbers);
      return 0;
    }
    const svd::MatrixTable& table = shape_.archive.matrix(name);
    const Share share = share_of(table, cut);
    memory_.compressed += share.stored;
    memory_.parameters += 5 * f32_bytes * static_cast<double>(share.parameters);
    largest_matrix_ = std::max(largest_matrix_, numbers);
    largest_transient_ = std::max({largest_transient_, share.factors, table.whole_terms().empty() ? 0 : numbers});
    return f32_bytes * static_cast<double>(numbers + share.factors);
  }

  void add_vocabulary() {
    const index_t rows = plan().vocabulary.size(), hidden = config_.hidden_size;
    if (shape_.archive.contains(embedding_name)) {
      memory_.compressed +=
          share_of(shape_.archive.matrix(embedding_name), {{{plan().vocabulary, {0, hidden}}}, 0}).stored;
    } else {
      const Codec codec = held_codec(shape_.checkpoint, embedding_name, {0, hidden}, shape_.type);
      memory_.compressed += static_cast<double>(rows * (code_bytes(codec, hidden) + scale_bytes(codec, hidden)));
    }
    memory_.compressed += f32_bytes * static_cast<double>(rows * hidden);
    memory_.activations += f32_bytes * static_cast<double>(2 * (logit_tokens + shape_.threads) * rows);
  }

  void add_activations() {
    const index_t tokens = shape_.window, hidden = config_.hidden_size, dim = config_.head_dim;
    const index_t queries = plan().heads.size() * dim, keys = plan().kv_heads.size() * dim;
    const index_t of_norms = config_.qk_norm ? 2 * queries + keys : 0;
    index_t row = hidden * (config_.layers + 1 + 9) + 3 * widest_ + 4 * queries + 6 * keys + of_norms;
    row += std::max({hidden, queries, widest_});               // of a gradient, transposed
    row += 4 * attention_rows * shape_.threads + 2 * queries;  // of attention's gradient
    double numbers = static_cast<double>(row) * static_cast<double>(tokens);
    numbers += static_cast<double>(rounded_rows * std::max({tokens, hidden, widest_}) / 2);
    numbers += static_cast<double>(product_numbers * shape_.threads);
    memory_.activations += f32_bytes * numbers;
  }

  const HealShape& shape_;
  const LlamaConfig& config_;
  std::vector<ShardPlan> plans_;  // (parts)
  HealMemory memory_;
  index_t widest_ = 0, largest_matrix_ = 0, largest_transient_ = 0;
};

}  // namespace

HealMemory heal_memory(const HealShape& shape) { return Sum(shape).run(); }

}  // namespace hack::model
