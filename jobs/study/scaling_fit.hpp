#pragma once

#include <span>
#include <vector>

#include "jobs/study/cost_model.hpp"

namespace hack::jobs {

/// One measured time and the parts of it that the model knows beforehand.
struct ScalingPoint {
  double ideal;          ///< what shrinks with more ranks, in any unit: 1 / P, or bytes / bandwidth of P ranks
  double communication;  ///< seconds, from a fitted link
  double seconds;        ///< measured
};

/// T = serial + scale · ideal + communication: Amdahl's law (1967) with the time of collectives beside it.
struct ScalingFit {
  double serial = 0;  ///< seconds that more ranks do not shorten
  double scale = 0;

  double seconds(double ideal, double communication) const { return serial + scale * ideal + communication; }
  /// Share of the time on one rank (ideal `ideal_of_one`) that is serial.
  double serial_share(double ideal_of_one) const { return serial / (serial + scale * ideal_of_one); }
};

/// Least squares of the relative errors with serial, scale >= 0; one point alone has no serial part.
ScalingFit fit_scaling(std::span<const ScalingPoint> points);

/// One measured all-reduce.
struct LinkPoint {
  int ranks;
  double bytes;
  double seconds;
};

/// Latency and bandwidth of `kind` by least squares of the relative errors; base is 0.
Link fit_link(Link::Kind kind, std::span<const LinkPoint> points);

/// Fits the kind among halving, doubling, folding and ring that leaves the smallest errors; halving where kinds leave
/// the same errors, as on two ranks.
Link fit_any_link(std::span<const LinkPoint> points);

/// Fits one link from each size to the next, because libraries change algorithm and protocol with the size: the first
/// link from 0 bytes on, the last for all larger vectors. Each link is fitted to the points of both its sizes.
std::vector<Link> fit_links(std::span<const LinkPoint> points);

}  // namespace hack::jobs
