#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "jobs/study/cost_model.hpp"
#include "jobs/study/scaling_fit.hpp"

namespace hack::jobs {

/// The measured rows of a study by phase and ranks, and the figures of the machine that the model takes from them.
class MeasuredRows {
 public:
  using ByRanks = std::map<int, nlohmann::json>;
  /// Rows of slices: shares of jobs of so many ranks. Several shares of one job are all here.
  using BySize = std::map<int, std::vector<nlohmann::json>>;

  /// Counts of ranks are below this where nothing is held out.
  static constexpr int all = 1 << 30;

  explicit MeasuredRows(const std::vector<nlohmann::json>& rows);

  const std::map<std::string, ByRanks>& phases() const { return phases_; }
  /// By the phase that they are shares of.
  const std::map<std::string, BySize>& slices() const { return slices_; }

  /// Bytes a second of so many ranks; beyond the measured counts each further rank brings the mean of the largest
  /// count.
  double bandwidth(int ranks) const;

  /// How much longer than alone a rank computes among so many, because their threads are more than the cores that they
  /// may use: max(1, ranks · threads / cores). Beyond the measured counts as with the most ranks.
  double crowding(int ranks) const;

  /// Fits the all-reduces within one node, then the extra time of all-reduces over several nodes, into `machine`. Uses
  /// counts of ranks below `below` alone, unless there are none.
  void fit_links(int below, Machine& machine) const;

 private:
  struct LinkRow {
    int nodes;
    LinkPoint point;
  };

  std::vector<LinkPoint> within_nodes(int below) const;
  /// Nodes, bytes of one of a node's ranks, and seconds beyond the seconds within nodes.
  std::vector<LinkPoint> between_nodes(int below, const Machine& within) const;

  std::map<std::string, ByRanks> phases_;
  std::map<std::string, BySize> slices_;
  std::map<int, double> bandwidth_;
  std::map<int, double> crowding_;
  std::vector<LinkRow> links_;
  int per_node_ = 1;
};

}  // namespace hack::jobs
