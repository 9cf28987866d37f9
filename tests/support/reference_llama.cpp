#include "tests/support/reference_llama.hpp"

#include <algorithm>
#include <cmath>

#include "model/llama/names.hpp"

namespace hack::testing {

ReferenceLlama::ReferenceLlama(const model::Checkpoint& checkpoint) : config_(checkpoint.config()) {
  for (const std::string& name : checkpoint.names()) {
    const model::TensorInfo info = checkpoint.info(name);
    std::vector<float> numbers(info.rows * info.cols);
    checkpoint.read(name, 0, 0, MatrixView<float>(numbers.data(), info.rows, info.cols));
    weights_[name] = {info.rows, info.cols, {numbers.begin(), numbers.end()}};
  }
}

ReferenceLlama::Vector ReferenceLlama::linear(const std::string& name, const Vector& x) const {
  const Dense& w = weights_.at(name + ".weight");
  const auto bias = weights_.find(name + ".bias");
  Vector y(w.rows);
  for (index_t i = 0; i < w.rows; ++i) {
    for (index_t j = 0; j < w.cols; ++j) y[i] += w(i, j) * x[j];
    if (bias != weights_.end()) y[i] += bias->second.data[i];
  }
  return y;
}

ReferenceLlama::Vector ReferenceLlama::norm(const std::string& name, const Vector& x) const {
  double squares = 0;
  for (double a : x) squares += a * a;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + config_.rms_norm_eps);
  Vector y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weights_.at(name).data[i];
  return y;
}

void ReferenceLlama::norm_heads(const std::string& name, Vector& x) const {
  if (weights_.find(name) == weights_.end()) return;
  const std::size_t d = config_.head_dim;
  for (std::size_t head = 0; head < x.size(); head += d) {
    const Vector normed = norm(name, Vector(x.begin() + head, x.begin() + head + d));
    std::copy(normed.begin(), normed.end(), x.begin() + head);
  }
}

void ReferenceLlama::rotate(Vector& x, index_t position) const {
  const std::vector<float> frequencies = model::inverse_frequencies(config_);
  const index_t half = config_.head_dim / 2;
  for (std::size_t head = 0; head < x.size(); head += config_.head_dim) {
    for (index_t i = 0; i < half; ++i) {
      const double angle = static_cast<float>(position) * frequencies[i];
      const double a = x[head + i], b = x[head + i + half];
      x[head + i] = a * std::cos(angle) - b * std::sin(angle);
      x[head + i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

ReferenceLlama::Vector ReferenceLlama::attend(index_t layer, const Vector& x, std::vector<Vector>& keys,
                                              std::vector<Vector>& values) const {
  const std::string prefix = model::layer_prefix(layer) + "self_attn.";
  const std::size_t window = static_cast<std::size_t>(model::window_of(config_, layer));
  Vector q = linear(prefix + "q_proj", x);
  keys.push_back(linear(prefix + "k_proj", x));
  values.push_back(linear(prefix + "v_proj", x));
  norm_heads(prefix + "q_norm.weight", q);
  norm_heads(prefix + "k_norm.weight", keys.back());
  rotate(q, std::ssize(keys) - 1);
  rotate(keys.back(), std::ssize(keys) - 1);
  const index_t d = config_.head_dim;
  Vector mixed(q.size());
  for (index_t head = 0; head < config_.heads; ++head) {
    const index_t kv = head / (config_.heads / config_.kv_heads);
    Vector p(keys.size());
    double total = 0;
    const std::size_t begin = window > 0 && keys.size() > window ? keys.size() - window : 0;
    for (std::size_t s = begin; s < keys.size(); ++s) {
      double dot = 0;
      for (index_t i = 0; i < d; ++i) dot += q[head * d + i] * keys[s][kv * d + i];
      total += p[s] = std::exp(model::score_factor(config_) * dot / std::sqrt(static_cast<double>(d)));
    }
    for (std::size_t s = 0; s < keys.size(); ++s) {
      for (index_t i = 0; i < d; ++i) mixed[head * d + i] += p[s] / total * values[s][kv * d + i];
    }
  }
  return linear(prefix + "o_proj", mixed);
}

std::vector<std::vector<double>> ReferenceLlama::logits(const std::vector<int>& ids) const {
  std::vector<std::vector<Vector>> keys(config_.layers), values(config_.layers);
  std::vector<std::vector<double>> all;
  const Dense& table = weights_.at(model::embedding_name);
  const Dense& head = config_.tied_embeddings ? table : weights_.at(model::head_name);
  for (int id : ids) {
    Vector x(table.data.begin() + id * table.cols, table.data.begin() + (id + 1) * table.cols);
    for (index_t layer = 0; layer < config_.layers; ++layer) {
      const std::string prefix = model::layer_prefix(layer);
      const Vector a = attend(layer, norm(prefix + "input_layernorm.weight", x), keys[layer], values[layer]);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += a[i];
      const Vector n = norm(prefix + "post_attention_layernorm.weight", x);
      Vector gate = linear(prefix + "mlp.gate_proj", n);
      const Vector up = linear(prefix + "mlp.up_proj", n);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const Vector down = linear(prefix + "mlp.down_proj", gate);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += down[i];
    }
    const Vector state = norm(model::final_norm_name, x);
    std::vector<double> out(head.rows);
    for (index_t i = 0; i < head.rows; ++i) {
      for (index_t j = 0; j < head.cols; ++j) out[i] += head(i, j) * state[j];
    }
    all.push_back(std::move(out));
  }
  return all;
}

std::vector<double> ReferenceLlama::losses(const std::vector<int>& ids) const {
  const std::vector<std::vector<double>> all = logits(ids);
  std::vector<double> losses;
  for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
    const double largest = *std::max_element(all[t].begin(), all[t].end());
    double sum = 0;
    for (double logit : all[t]) sum += std::exp(logit - largest);
    losses.push_back(largest + std::log(sum) - all[t][ids[t + 1]]);
  }
  return losses;
}

}  // namespace hack::testing
