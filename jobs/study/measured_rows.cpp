#include "jobs/study/measured_rows.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace hack::jobs {

MeasuredRows::MeasuredRows(const std::vector<nlohmann::json>& rows) {
  for (const nlohmann::json& row : rows) {
    const int ranks = row["ranks"];
    const std::string phase = row["phase"];
    if (row.contains("slice")) {
      slices_[phase.substr(0, phase.find(' '))][ranks].push_back(row);
      continue;  // ranks that ran slices at once are no job of so many ranks
    }
    const int nodes = row["nodes"];
    per_node_ = std::max(per_node_, (ranks + nodes - 1) / nodes);
    if (phase == "read") {
      bandwidth_[ranks] = row["rate"];
    } else if (phase == "allreduce") {
      links_.push_back({nodes, {ranks, row["work"], row["seconds"]}});
    } else {
      phases_[phase][ranks] = row;
    }
    if (row.contains("cores")) {
      const double wanted = ranks * row["threads"].get<double>();
      crowding_[ranks] = std::max(1.0, wanted / row["cores"].get<double>());
    }
  }
}

double MeasuredRows::bandwidth(int ranks) const {
  if (bandwidth_.empty()) return 0;
  const auto at = bandwidth_.lower_bound(ranks);
  if (at != bandwidth_.end()) return at->second;
  const auto& [most, rate] = *bandwidth_.rbegin();
  return rate / most * ranks;
}

double MeasuredRows::crowding(int ranks) const {
  if (crowding_.empty()) return 1;
  const auto at = crowding_.lower_bound(ranks);
  return at != crowding_.end() ? at->second : crowding_.rbegin()->second;
}

std::vector<LinkPoint> MeasuredRows::within_nodes(int below) const {
  std::vector<LinkPoint> points;
  for (const LinkRow& row : links_) {
    if (row.nodes == 1 && row.point.ranks < below) points.push_back(row.point);
  }
  return points;
}

std::vector<LinkPoint> MeasuredRows::between_nodes(int below, const Machine& within) const {
  std::vector<LinkPoint> points;
  for (const LinkRow& row : links_) {
    if (row.nodes == 1 || row.point.ranks >= below) continue;
    const int on_node = (row.point.ranks + row.nodes - 1) / row.nodes;
    const double rest = row.point.seconds - within.all_reduce_seconds(on_node, row.point.bytes);
    if (rest > 0) points.push_back({row.nodes, row.point.bytes / on_node, rest});
  }
  return points;
}

void MeasuredRows::fit_links(int below, Machine& machine) const {
  std::vector<LinkPoint> points = within_nodes(below);
  if (points.empty()) points = within_nodes(all);
  machine.ranks_per_node = per_node_;
  machine.within = jobs::fit_links(points);
  points = between_nodes(below, machine);
  if (points.empty()) points = between_nodes(all, machine);
  // Nothing measured between nodes: as within one.
  machine.between = points.empty() ? machine.within : jobs::fit_links(points);
}

}  // namespace hack::jobs
