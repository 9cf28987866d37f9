#include "jobs/study/cost_model.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <iterator>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "io/json_text.hpp"
#include "kernels/error.hpp"
#include "model/llama/chunk.hpp"

namespace hack::jobs {
namespace {

/// NCCL's own constants for rings (src/graph/tuning.cc): its protocol LL starts sooner and sends data and flags in
/// turn, at a quarter of the bandwidth and no more than 87.7 GB/s; Simple sends data alone.
constexpr double ll_base = 6.6e-6, ll_hop = 0.6e-6, ll_network_hop = 2.7e-6, ll_bandwidth = 87.7e9;
constexpr double simple_base = 8.4e-6, simple_hop = 3.4e-6, simple_network_hop = 14.0e-6;
/// A kernel of next to no work in a CUDA graph takes 1.1 to 1.3 µs (pytorch issue 161104).
constexpr double graph_kernel_gap = 1.3e-6;

struct PublishedMachine {
  const char* name;
  double read_bandwidth;  // bytes/s
  double flops;           // bf16, dense
  double memory;          // bytes
  double ring;            // bytes/s of NVLink in one direction
  double network;         // bytes/s of a rank's share of the node's network (400 Gbit/s; A100 nodes 200)
};

/// NVIDIA's data sheets of the SXM cards.
constexpr std::array machines = {
    PublishedMachine{"a100-80gb", 2.039e12, 312e12, 80e9, 300e9, 25e9},
    PublishedMachine{"h100", 3.35e12, 989e12, 80e9, 450e9, 50e9},
    PublishedMachine{"h200", 4.8e12, 989e12, 141e9, 450e9, 50e9},
};

constexpr int most_ranks_per_node = 1 << 20;

constexpr std::array<std::string_view, 5> kinds = {"ring", "halving", "one-shot", "doubling", "folding"};

std::vector<Link> nccl(double hop_of_ll, double hop_of_simple, double bandwidth) {
  return {{Link::Kind::ring, ll_base, hop_of_ll, std::min(bandwidth / 4, ll_bandwidth)},
          {Link::Kind::ring, simple_base, hop_of_simple, bandwidth}};
}

double quickest(const std::vector<Link>& links, int ranks, double bytes) {
  double from = 0, seconds = 0;
  bool is_first = true;
  for (const Link& link : links) {
    if (link.from > bytes || (!is_first && link.from < from)) continue;
    const bool replaces = is_first || link.from > from;
    seconds = replaces ? link.seconds(ranks, bytes) : std::min(seconds, link.seconds(ranks, bytes));
    from = link.from;
    is_first = false;
  }
  return seconds;
}

nlohmann::json to_json(const std::vector<Link>& links) {
  nlohmann::json json = nlohmann::json::array();
  for (const Link& link : links) {
    json.push_back({{"kind", kinds[static_cast<std::size_t>(link.kind)]},
                    {"base_seconds", link.base},
                    {"hop_seconds", link.hop},
                    {"bytes_per_second", link.bandwidth},
                    {"from_bytes", link.from}});
  }
  return json;
}

/// A figure that is no less than 0; JSON has no others than finite numbers.
double figure(const nlohmann::json& json, const char* name) {
  const double value = json.at(name).get<double>();
  validate(value >= 0, "{} is {}", name, value);
  return value;
}

std::vector<Link> links_from_json(const nlohmann::json& json) {
  std::vector<Link> links;
  for (const nlohmann::json& one : json) {
    const auto kind = std::find(kinds.begin(), kinds.end(), one.at("kind").get<std::string>());
    validate(kind != kinds.end(), "unknown kind of all-reduce {}", one.at("kind").dump());
    links.push_back({static_cast<Link::Kind>(kind - kinds.begin()), figure(one, "base_seconds"),
                     figure(one, "hop_seconds"), figure(one, "bytes_per_second"),
                     one.contains("from_bytes") ? figure(one, "from_bytes") : 0.0});
  }
  return links;
}

}  // namespace

double Link::steps(int ranks) const {
  const auto count = static_cast<unsigned>(ranks);
  const int doublings = std::bit_width(count) - 1;
  const bool folds = !std::has_single_bit(count);
  switch (kind) {
    case Kind::ring:
      return 2.0 * (ranks - 1);
    case Kind::halving:
      return 2 * std::ceil(std::log2(ranks));
    case Kind::one_shot:
      return 1;
    case Kind::doubling:
      return doublings + (folds ? 2 : 0);
    case Kind::folding:
      return 2 * doublings + (folds ? 3 : 0);
  }
  return 0;
}

double Link::volume(int ranks) const {
  const auto even = [](double parts) { return 2 * (parts - 1) / parts; };
  const auto count = static_cast<unsigned>(ranks);
  switch (kind) {
    case Kind::ring:
    case Kind::halving:
      return even(ranks);
    case Kind::one_shot:
      return ranks - 1.0;
    case Kind::doubling:
      return steps(ranks);
    case Kind::folding:
      return even(std::bit_floor(count)) + (std::has_single_bit(count) ? 0 : 1.25);
  }
  return 0;
}

double Link::seconds(int ranks, double bytes) const {
  if (ranks <= 1) return 0;
  return base + steps(ranks) * hop + (bandwidth > 0 ? volume(ranks) * bytes / bandwidth : 0);
}

double Machine::all_reduce_seconds(int ranks, double bytes) const {
  const int nodes = (ranks + ranks_per_node - 1) / ranks_per_node;
  const int on_node = std::min(ranks, ranks_per_node);
  // Every rank of a node takes its part of the bytes to the other nodes.
  return quickest(within, on_node, bytes) + quickest(between, nodes, bytes / on_node);
}

Machine published_machine(std::string_view name) {
  std::string known;
  for (const PublishedMachine& m : machines) {
    known += (known.empty() ? "" : ", ") + std::string(m.name);
    if (name != m.name) continue;
    Machine machine;
    machine.name = m.name;
    machine.read_bandwidth = m.read_bandwidth;
    machine.flops = m.flops;
    machine.memory = m.memory;
    machine.kernel_gap = graph_kernel_gap;
    machine.within = nccl(ll_hop, simple_hop, m.ring);
    machine.between = nccl(ll_network_hop, simple_network_hop, m.network);
    return machine;
  }
  fail("unknown machine '{}' (known: {}); or give the report of a study", name, known);
}

Machine open_machine(const std::string& name_or_study) {
  std::ifstream file(name_or_study);
  if (!file.good()) return published_machine(name_or_study);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const nlohmann::json study = io::parse_json(text, name_or_study);
  validate(study.is_object() && study.contains("machine"),
           "{}: is no study that has ended (it has no \"machine\"); give the .json of one", name_or_study);
  try {
    return machine_from_json(study["machine"]);
  } catch (const Error& error) {
    fail("{}: {}; give the .json of another study", name_or_study, error.what());
  }
}

Machine machine_from_json(const nlohmann::json& json) {
  try {
    Machine machine;
    machine.name = json.at("name");
    machine.read_bandwidth = figure(json, "read_bytes_per_second");
    machine.flops = figure(json, "flops");
    machine.tiles_per_second = figure(json, "tiles_per_second");
    machine.memory = figure(json, "memory_bytes");
    machine.kernel_gap = figure(json, "kernel_gap_seconds");
    const nlohmann::json& ranks = json.at("ranks_per_node");
    validate(ranks.is_number_integer() && ranks <= most_ranks_per_node, "ranks_per_node is {}", ranks.dump());
    machine.ranks_per_node = std::max<int>(1, ranks);
    machine.within = links_from_json(json.at("within_nodes"));
    machine.between = links_from_json(json.at("between_nodes"));
    return machine;
  } catch (const nlohmann::json::exception& error) {
    fail("this is no description of a machine ({})", error.what());
  }
}

nlohmann::json to_json(const Machine& machine) {
  return {{"name", machine.name},
          {"read_bytes_per_second", machine.read_bandwidth},
          {"flops", machine.flops},
          {"tiles_per_second", machine.tiles_per_second},
          {"memory_bytes", machine.memory},
          {"kernel_gap_seconds", machine.kernel_gap},
          {"ranks_per_node", machine.ranks_per_node},
          {"within_nodes", to_json(machine.within)},
          {"between_nodes", to_json(machine.between)}};
}

/// Weights of one layer on a rank. Keys and values are held by every rank that reads them.
double CostModel::layer_weights(int tensor) const {
  const model::LlamaConfig& c = work_.config;
  const auto hidden = static_cast<double>(c.hidden_size);
  const auto heads = static_cast<double>(c.heads * c.head_dim);
  const auto kv = static_cast<double>(c.kv_heads * c.head_dim);
  const double kv_parts = std::min<double>(tensor, static_cast<double>(c.kv_heads));
  return 2 * hidden * heads / tensor + 2 * hidden * kv / kv_parts + mlp_weights(tensor);
}

double CostModel::mlp_weights(int tensor) const {
  const model::LlamaConfig& c = work_.config;
  const auto hidden = static_cast<double>(c.hidden_size), width = static_cast<double>(c.intermediate_size);
  return 3 * hidden * width * work_.mlp_keep / tensor;
}

double CostModel::head_weights(int tensor) const {
  const double all = static_cast<double>(work_.config.vocab_size) * static_cast<double>(work_.config.hidden_size);
  return work_.head_is_split ? all / tensor : all;
}

double CostModel::decode_seconds(int tensor) const {
  const model::LlamaConfig& c = work_.config;
  const auto layers = static_cast<double>(c.layers);
  const auto hidden = static_cast<double>(c.hidden_size);
  const double kv_heads = std::ceil(static_cast<double>(c.kv_heads) / tensor);
  const double cache = 2 * layers * kv_heads * static_cast<double>(c.head_dim) * work_.context * work_.activation_bytes;
  const double layer = layer_weights(tensor) + (work_.mlp_width - 1) * mlp_weights(tensor);
  const double weights = (layers * layer + head_weights(tensor)) * work_.bytes_per_weight;
  const double sums =
      tensor > 1 ? 2 * layers * machine_.all_reduce_seconds(tensor, work_.activation_bytes * hidden) : 0;
  return (weights + cache) / machine_.read_bandwidth + layers * work_.kernels_per_layer * machine_.kernel_gap + sums;
}

/// Of all layers: products and attention over the tokens before, and two all-reduces of each chunk.
double CostModel::layers_seconds(int tensor, double tokens) const {
  const model::LlamaConfig& c = work_.config;
  const auto layers = static_cast<double>(c.layers);
  const double attention = 2 * tokens * tokens * static_cast<double>(c.heads * c.head_dim) / tensor;
  const double compute = layers * (2 * tokens * layer_weights(tensor) + attention) / machine_.flops;
  const double chunk = std::min(tokens, static_cast<double>(model::chunk_tokens));
  const double bytes = work_.activation_bytes * static_cast<double>(c.hidden_size) * chunk;
  return compute + tokens / chunk * (2 * layers + 1) * machine_.all_reduce_seconds(tensor, bytes);
}

double CostModel::prefill_seconds(int tensor, double tokens) const {
  return layers_seconds(tensor, tokens) + head_weights(tensor) * work_.bytes_per_weight / machine_.read_bandwidth;
}

double CostModel::window_seconds(int tensor) const {
  const double head = 2 * work_.context * head_weights(tensor) / machine_.flops;
  return layers_seconds(tensor, work_.context) + head;
}

double CostModel::factorization_seconds(int ranks) const {
  if (machine_.tiles_per_second <= 0) return 0;
  const auto size = static_cast<double>(work_.tile);
  const auto cut = [&](index_t n) { return std::ceil(static_cast<double>(n) / size); };
  const double tiles = 3.0 * static_cast<double>(work_.config.layers) * cut(work_.config.hidden_size) *
                       cut(work_.config.intermediate_size);
  return std::ceil(tiles / ranks) / machine_.tiles_per_second;
}

}  // namespace hack::jobs
