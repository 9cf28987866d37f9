#include "jobs/study_model.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "jobs/scaling_fit.hpp"
#include "model/checkpoint/random_checkpoint.hpp"
#include "model/memory_need.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

constexpr int most_ranks = 1024;

/// The measured rows by phase and ranks, and what follows from them.
class MeasuredRows {
 public:
  explicit MeasuredRows(const std::vector<json>& rows) {
    for (const json& row : rows) {
      const int ranks = row["ranks"];
      if (row["phase"] == "read") {
        bandwidth_[ranks] = row["rate"];
      } else if (row["phase"] == "allreduce") {
        links_.push_back({ranks, row["nodes"], {ranks, row["work"], row["seconds"]}});
      } else {
        phases_[row["phase"]][ranks] = row;
      }
      per_node_ = std::max(per_node_, (ranks + row["nodes"].get<int>() - 1) / row["nodes"].get<int>());
    }
  }

  const std::map<std::string, std::map<int, json>>& phases() const { return phases_; }
  int ranks_per_node() const { return per_node_; }

  /// Bytes a second of so many ranks; beyond what was measured each further rank brings what the last had on average.
  double bandwidth(int ranks) const {
    if (bandwidth_.empty()) return 0;
    const auto at = bandwidth_.lower_bound(ranks);
    if (at != bandwidth_.end()) return at->second;
    const auto& [most, rate] = *bandwidth_.rbegin();
    return rate / most * ranks;
  }

  /// Fits the all-reduces within one node, then what those over several nodes take longer. Counts below `below` alone,
  /// unless there are none.
  void fit_links(int below, Machine& machine) const {
    std::vector<LinkPoint> within = points(below, [](int nodes) { return nodes == 1; });
    if (within.empty()) within = points(most_ranks + 1, [](int nodes) { return nodes == 1; });
    machine.ranks_per_node = per_node_;
    machine.within = {fit_link(Link::Kind::halving, within)};
    machine.between.clear();
    std::vector<LinkPoint> between;
    for (const bool all : {false, true}) {
      for (const auto& [ranks, nodes, point] : links_) {
        if (nodes == 1 || (!all && ranks >= below)) continue;
        const int on_node = (ranks + nodes - 1) / nodes;
        const double rest = point.seconds - machine.within.front().seconds(on_node, point.bytes);
        if (rest > 0) between.push_back({nodes, point.bytes / on_node, rest});
      }
      if (!between.empty()) break;
    }
    // Nothing measured between nodes: as within one.
    machine.between = {between.empty() ? machine.within.front() : fit_link(Link::Kind::halving, between)};
  }

 private:
  struct LinkRow {
    int ranks, nodes;
    LinkPoint point;
  };

  template <class Where>
  std::vector<LinkPoint> points(int below, const Where& where) const {
    std::vector<LinkPoint> points;
    for (const LinkRow& row : links_) {
      if (row.ranks < below && where(row.nodes)) points.push_back(row.point);
    }
    return points;
  }

  std::map<std::string, std::map<int, json>> phases_;
  std::map<int, double> bandwidth_;
  std::vector<LinkRow> links_;
  int per_node_ = 1;
};

/// The model's view of the phases of one study.
class PhaseModel {
 public:
  PhaseModel(const MeasuredRows& rows, const model::LlamaConfig& config, const StudyWork& work)
      : rows_(rows), config_(config), work_(work) {}

  ScalingPoint point(const std::string& phase, int ranks, const Machine& machine, double seconds) const {
    return {ideal(phase, ranks), communication(phase, ranks, machine), seconds};
  }

  /// 1 / P of a fixed work, or the time that memory takes where a phase is bound by it.
  double ideal(const std::string& phase, int ranks) const {
    const double share = work_.weak ? 1.0 : 1.0 / ranks;
    const double one = rows_.bandwidth(1), all = rows_.bandwidth(ranks);
    if (phase != "decode" || one <= 0 || all <= 0) return share;
    return share * ranks * one / all;
  }

  /// Of the all-reduces of ranks that share a model.
  double communication(const std::string& phase, int ranks, const Machine& machine) const {
    if (work_.weak || ranks == 1) return 0;
    const double calls = 2.0 * static_cast<double>(config_.layers) + 1;
    const double state = 4.0 * static_cast<double>(config_.hidden_size);
    if (phase == "decode") return static_cast<double>(work_.tokens) * calls * machine.all_reduce_seconds(ranks, state);
    if (phase == "prefill") {
      const double chunk = std::min<double>(512, static_cast<double>(work_.prompt));
      return static_cast<double>(work_.prompt) / chunk * calls * machine.all_reduce_seconds(ranks, chunk * state);
    }
    return 0;
  }

  ScalingFit fit(const std::string& phase, int below, const Machine& machine) const {
    std::vector<ScalingPoint> points;
    for (const auto& [ranks, row] : rows_.phases().at(phase)) {
      if (ranks < below) points.push_back(point(phase, ranks, machine, row["seconds"]));
    }
    return fit_scaling(points);
  }

  json predict(const std::string& phase, int ranks, const ScalingFit& fit, const Machine& machine) const {
    const json& like = rows_.phases().at(phase).begin()->second;
    const double parts = work_.weak ? static_cast<double>(ranks) / like["ranks"].get<int>() : 1;
    const double seconds = fit.seconds(ideal(phase, ranks), communication(phase, ranks, machine));
    const double work = like["work"].get<double>() * parts;
    return {{"kind", "model"},
            {"phase", phase},
            {"ranks", ranks},
            {"unit", like["unit"]},
            {"work", work},
            {"seconds", seconds},
            {"rate", work / seconds},
            {"serial_share", fit.serial_share(ideal(phase, 1))},
            {"communication_seconds", communication(phase, ranks, machine)}};
  }

 private:
  const MeasuredRows& rows_;
  const model::LlamaConfig& config_;
  const StudyWork& work_;
};

/// Operations of one rank's share of the prompt.
double prefill_flops(const model::LlamaConfig& c, double tokens) {
  Machine unit;
  unit.flops = 1;
  unit.read_bandwidth = 1e300;
  return CostModel(unit, Workload{.config = c, .context = tokens}).prefill_seconds(1, tokens);
}

Machine machine_of(const MeasuredRows& rows, const model::LlamaConfig& config, double bytes_per_weight,
                   const StudyWork& work, double memory) {
  Machine machine;
  machine.name = "measured";
  machine.memory = memory;
  rows.fit_links(most_ranks + 1, machine);
  const auto last = [&](const char* phase) -> const json* {
    const auto at = rows.phases().find(phase);
    return at == rows.phases().end() ? nullptr : &at->second.rbegin()->second;
  };
  if (const json* row = last("prefill")) {
    const double parts = work.weak ? 1 : (*row)["ranks"].get<double>();
    machine.flops =
        prefill_flops(config, static_cast<double>(work.prompt)) / parts / (*row)["compute_seconds"].get<double>();
  }
  if (const json* row = last("factorization"))
    machine.tiles_per_second = (*row)["rate"].get<double>() / (*row)["ranks"].get<double>();
  if (const json* row = last("decode")) {
    const int ranks = (*row)["ranks"];
    machine.read_bandwidth = rows.bandwidth(ranks) / ranks;
    if (machine.read_bandwidth > 0) {
      // What a token takes beyond reading its weights.
      Workload load{.config = config, .bytes_per_weight = bytes_per_weight};
      const double gaps = static_cast<double>(config.layers) * load.kernels_per_layer;
      const double own = (*row)["compute_seconds"].get<double>() / static_cast<double>(work.tokens);
      machine.kernel_gap =
          std::max(0.0, own - CostModel(machine, load).decode_seconds(1) / (work.weak ? 1 : ranks)) / gaps;
    }
  }
  return machine;
}

/// The published shapes on such ranks: the fewest that hold the model share a copy.
std::vector<json> published_rows(const Machine& machine) {
  std::vector<json> rows;
  for (const char* shape : {"llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"}) {
    const model::LlamaConfig config = model::published_config(shape);
    const model::RunShape run{.context = 2048};
    int tensor = 1;
    while (tensor < most_ranks && model::largest_need(config, run, tensor).total() > machine.memory) tensor *= 2;
    const CostModel cost(machine, Workload{.config = config, .context = 2048});
    for (int ranks = tensor; ranks <= most_ranks; ranks *= 2) {
      const double copies = static_cast<double>(ranks) / tensor;
      json row = {{"kind", "model"},
                  {"shape", shape},
                  {"ranks", ranks},
                  {"tensor_parallel", tensor},
                  {"data_parallel", ranks / tensor},
                  {"perplexity_tokens_per_second", 2048 * copies / cost.window_seconds(tensor)},
                  {"prefill_tokens_per_second", 2048 * copies / cost.prefill_seconds(tensor, 2048)},
                  {"decode_tokens_per_second", copies / cost.decode_seconds(tensor)}};
      if (const double seconds = cost.factorization_seconds(ranks); seconds > 0) row["factorization_seconds"] = seconds;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace

StudyModel model_of(const std::vector<json>& rows, const model::LlamaConfig& config, double bytes_per_weight,
                    const StudyWork& work, double memory_per_rank) {
  const MeasuredRows measured(rows);
  StudyModel result;
  result.machine = machine_of(measured, config, bytes_per_weight, work, memory_per_rank);
  const PhaseModel model(measured, config, work);
  for (const auto& [phase, by_ranks] : measured.phases()) {
    const auto& [largest, row] = *by_ranks.rbegin();
    if (by_ranks.size() > 1) {
      Machine before = result.machine;
      measured.fit_links(largest, before);
      json held = model.predict(phase, largest, model.fit(phase, largest, before), before);
      held["held_out"] = true;
      held["measured_seconds"] = row["seconds"];
      held["error"] = held["seconds"].get<double>() / row["seconds"].get<double>() - 1;
      result.held_out.push_back(std::move(held));
    }
    const ScalingFit fit = model.fit(phase, most_ranks + 1, result.machine);
    for (int ranks = 2 * largest; ranks <= most_ranks; ranks *= 2) {
      result.larger.push_back(model.predict(phase, ranks, fit, result.machine));
    }
  }
  if (result.machine.flops > 0 && result.machine.read_bandwidth > 0) result.published = published_rows(result.machine);
  return result;
}

}  // namespace hack::jobs
