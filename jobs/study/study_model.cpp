#include "jobs/study/study_model.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "jobs/study/measured_rows.hpp"
#include "jobs/study/scaling_fit.hpp"
#include "model/checkpoint/random_checkpoint.hpp"
#include "model/llama/chunk.hpp"
#include "model/llama/memory_need.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

constexpr int most_ranks = 1024;

/// Largest of some slices of a job, in seconds on a machine where all of the job runs.
struct SliceTime {
  double seconds = 0;
  std::vector<std::string> slices;
};

/// The model's view of the phases of one study.
class PhaseModel {
 public:
  PhaseModel(const MeasuredRows& rows, const model::LlamaConfig& config, const StudyWork& work)
      : rows_(rows), config_(config), work_(work) {}

  ScalingPoint point(const std::string& phase, int ranks, const Machine& machine, double seconds) const {
    return {ideal(phase, ranks), communication(phase, ranks, machine), seconds};
  }

  /// How much longer than alone a rank takes among so many: by the memory that they share where a phase is bound by it,
  /// else by cores that they share.
  double slowdown(const std::string& phase, int ranks) const {
    const double one = rows_.bandwidth(1), all = rows_.bandwidth(ranks);
    if (phase == "decode" && one > 0 && all > 0) return ranks * one / all;
    return rows_.crowding(ranks);
  }

  /// 1 / P of a fixed work, times that.
  double ideal(const std::string& phase, int ranks) const {
    return (work_.weak ? 1.0 : 1.0 / ranks) * slowdown(phase, ranks);
  }

  /// Of the all-reduces of ranks that share a model.
  double communication(const std::string& phase, int ranks, const Machine& machine) const {
    if (work_.weak || ranks == 1) return 0;
    const double calls = 2.0 * static_cast<double>(config_.layers) + 1;
    const double state = 4.0 * static_cast<double>(config_.hidden_size);
    if (phase == "decode") return static_cast<double>(work_.tokens) * calls * machine.all_reduce_seconds(ranks, state);
    if (phase == "prefill") {
      const double chunk = static_cast<double>(std::min(model::chunk_tokens, work_.prompt));
      return static_cast<double>(work_.prompt) / chunk * calls * machine.all_reduce_seconds(ranks, chunk * state);
    }
    return 0;
  }

  /// Slices that ran together share cores and memory as the job's ranks do; the time of a slice that ran alone is
  /// lengthened by the slowdown.
  SliceTime slice_time(const std::string& phase, int ranks) const {
    SliceTime time;
    const auto sizes = rows_.slices().find(phase);
    if (sizes == rows_.slices().end() || sizes->second.count(ranks) == 0) return time;
    for (const json& row : sizes->second.at(ranks)) {
      const std::string slice = row["slice"];
      const double factor = StudySlice::parse(slice).part == StudySlice::every ? 1 : slowdown(phase, ranks);
      time.seconds = std::max(time.seconds, factor * row["seconds"].get<double>());
      time.slices.push_back(slice);
    }
    return time;
  }

  /// To times of counts below `below`, measured, and of slices: these have no all-reduces.
  ScalingFit fit(const std::string& phase, int below, const Machine& machine) const {
    std::vector<ScalingPoint> points;
    for (const auto& [ranks, row] : rows_.phases().at(phase)) {
      if (ranks < below) points.push_back(point(phase, ranks, machine, row["seconds"]));
    }
    if (const auto sizes = rows_.slices().find(phase); sizes != rows_.slices().end()) {
      for (const auto& [ranks, rows] : sizes->second) {
        if (ranks < below) points.push_back({ideal(phase, ranks), 0, slice_time(phase, ranks).seconds});
      }
    }
    return fit_scaling(points);
  }

  json predict(const std::string& phase, int ranks, const ScalingFit& fit, const Machine& machine) const {
    const json& like = rows_.phases().at(phase).begin()->second;
    const double parts = work_.weak ? static_cast<double>(ranks) / like["ranks"].get<int>() : 1;
    json row = prediction(phase, ranks, like, parts, machine);
    set_seconds(row, fit.seconds(ideal(phase, ranks), row["communication_seconds"]));
    row["serial_share"] = fit.serial_share(ideal(phase, 1));
    return row;
  }

  /// The slowest slice that was measured, and the model's all-reduces.
  json predict_from_slices(const std::string& phase, int ranks, const Machine& machine) const {
    const SliceTime time = slice_time(phase, ranks);
    json row = prediction(phase, ranks, rows_.slices().at(phase).at(ranks).front(), 1, machine);
    set_seconds(row, time.seconds + row["communication_seconds"].get<double>());
    row["slices"] = time.slices;
    row["compute_seconds"] = time.seconds;
    row["measured"] = "compute_seconds";
    return row;
  }

 private:
  json prediction(const std::string& phase, int ranks, const json& like, double parts, const Machine& machine) const {
    return {{"kind", "model"},
            {"phase", phase},
            {"ranks", ranks},
            {"unit", like["unit"]},
            {"work", like["work"].get<double>() * parts},
            {"communication_seconds", communication(phase, ranks, machine)}};
  }

  static void set_seconds(json& row, double seconds) {
    row["seconds"] = seconds;
    row["rate"] = row["work"].get<double>() / seconds;
  }

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
                   const StudyWork& work, double memory, Machine machine) {
  machine.name = "measured";
  machine.memory = memory;
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
      // The time of a token beyond reading the weights.
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

/// A prediction beside the time that it is of.
json beside_measured(json row, const json& measured) {
  row["measured_seconds"] = measured["seconds"];
  row["error"] = row["seconds"].get<double>() / measured["seconds"].get<double>() - 1;
  return row;
}

}  // namespace

StudyModel model_of(const std::vector<json>& rows, const model::LlamaConfig& config, double bytes_per_weight,
                    const StudyWork& work, double memory_per_rank, const std::optional<Machine>& links) {
  const MeasuredRows measured(rows);
  const PhaseModel model(measured, config, work);
  StudyModel result;
  const auto links_below = [&](int below) {
    Machine machine = result.machine;
    if (!links) measured.fit_links(below, machine);
    return machine;
  };
  if (links) {
    result.machine.ranks_per_node = links->ranks_per_node;
    result.machine.within = links->within;
    result.machine.between = links->between;
  }
  result.machine =
      machine_of(measured, config, bytes_per_weight, work, memory_per_rank, links_below(MeasuredRows::all));
  for (const auto& [phase, by_ranks] : measured.phases()) {
    const auto& [largest, row] = *by_ranks.rbegin();
    if (by_ranks.size() > 1) {
      const Machine before = links_below(largest);
      const auto hold_out = [&](json prediction) {
        prediction["held_out"] = true;
        result.held_out.push_back(beside_measured(std::move(prediction), row));
      };
      hold_out(model.predict(phase, largest, model.fit(phase, largest, before), before));
      if (model.slice_time(phase, largest).seconds > 0) hold_out(model.predict_from_slices(phase, largest, before));
    }
    const ScalingFit fit = model.fit(phase, MeasuredRows::all, result.machine);
    for (int ranks = 2 * largest; ranks <= most_ranks; ranks *= 2) {
      const bool has_slices = model.slice_time(phase, ranks).seconds > 0;
      result.larger.push_back(has_slices ? model.predict_from_slices(phase, ranks, result.machine)
                                         : model.predict(phase, ranks, fit, result.machine));
    }
  }
  for (const auto& [phase, by_size] : measured.slices()) {
    for (const auto& [ranks, slices] : by_size) {
      json row = model.predict_from_slices(phase, ranks, result.machine);
      row["links"] = links ? "given" : "measured";
      const auto at = measured.phases().find(phase);
      const bool is_measured = at != measured.phases().end() && at->second.count(ranks) > 0;
      result.slices.push_back(is_measured ? beside_measured(std::move(row), at->second.at(ranks)) : row);
    }
  }
  if (result.machine.flops > 0 && result.machine.read_bandwidth > 0) result.published = published_rows(result.machine);
  return result;
}

}  // namespace hack::jobs
