#include "jobs/study/scaling_fit.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <set>

#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

/// a · x + b · y = z, each equation divided by its weight.
struct Equation {
  double x, y, z, weight;
};

/// a, b >= 0 with the least Σ ((a x + b y - z) / weight)². Where the best has a negative part, that part is 0.
std::array<double, 2> solve(std::span<const Equation> equations) {
  double xx = 0, xy = 0, yy = 0, xz = 0, yz = 0;
  for (const Equation& e : equations) {
    const double x = e.x / e.weight, y = e.y / e.weight, z = e.z / e.weight;
    xx += x * x, xy += x * y, yy += y * y, xz += x * z, yz += y * z;
  }
  const double determinant = xx * yy - xy * xy;
  if (determinant > 1e-12 * xx * yy) {
    const double a = (xz * yy - yz * xy) / determinant;
    const double b = (yz * xx - xz * xy) / determinant;
    if (a >= 0 && b >= 0) return {a, b};
  }
  // One of the two alone: the one that leaves less.
  const double a = xx > 0 ? std::max(0.0, xz / xx) : 0, b = yy > 0 ? std::max(0.0, yz / yy) : 0;
  if (a * (2 * xz - a * xx) > b * (2 * yz - b * yy)) return {a, 0};
  return {0, b};
}

}  // namespace

ScalingFit fit_scaling(std::span<const ScalingPoint> points) {
  HACK_EXPECT(!points.empty());
  if (points.size() == 1) {
    const ScalingPoint& p = points.front();
    return {0, std::max(0.0, p.seconds - p.communication) / p.ideal};
  }
  std::vector<Equation> equations;
  for (const ScalingPoint& p : points) equations.push_back({1, p.ideal, p.seconds - p.communication, p.seconds});
  const auto [serial, scale] = solve(equations);
  return {serial, scale};
}

Link fit_link(Link::Kind kind, std::span<const LinkPoint> points) {
  Link link{kind, 0, 0, 0};
  std::vector<Equation> equations;
  for (const LinkPoint& p : points) {
    equations.push_back({link.steps(p.ranks), link.volume(p.ranks) * p.bytes, p.seconds, p.seconds});
  }
  const auto [hop, per_byte] = solve(equations);
  link.hop = hop;
  link.bandwidth = per_byte > 0 ? 1 / per_byte : 0;
  return link;
}

Link fit_any_link(std::span<const LinkPoint> points) {
  Link best;
  double least = std::numeric_limits<double>::infinity();
  for (const Link::Kind kind : {Link::Kind::halving, Link::Kind::doubling, Link::Kind::folding, Link::Kind::ring}) {
    const Link link = fit_link(kind, points);
    double errors = 0;
    for (const LinkPoint& p : points) {
      const double error = link.seconds(p.ranks, p.bytes) / p.seconds - 1;
      errors += error * error;
    }
    if (errors >= least - 1e-9) continue;  // not by rounding
    least = errors;
    best = link;
  }
  return best;
}

std::vector<Link> fit_links(std::span<const LinkPoint> points) {
  std::set<double> sizes;
  for (const LinkPoint& p : points) sizes.insert(p.bytes);
  if (sizes.size() < 2) return {fit_any_link(points)};
  std::vector<Link> links;
  for (auto size = sizes.begin(); std::next(size) != sizes.end(); ++size) {
    std::vector<LinkPoint> both;
    for (const LinkPoint& p : points) {
      if (p.bytes == *size || p.bytes == *std::next(size)) both.push_back(p);
    }
    links.push_back(fit_any_link(both));
    if (size != sizes.begin()) links.back().from = *size;
  }
  return links;
}

}  // namespace hack::jobs
