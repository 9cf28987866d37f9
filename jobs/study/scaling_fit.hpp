#pragma once

#include <span>
#include <vector>

#include "jobs/study/cost_model.hpp"

namespace hack::jobs {

/// One measured time and what the model knows of it beforehand.
struct ScalingPoint {
  double ideal;          ///< what shrinks with more ranks, in any unit: 1 / P, or bytes / bandwidth of P ranks
  double communication;  ///< seconds, from a fitted link
  double seconds;        ///< measured
};

/// T = serial + scale · ideal + communication: Amdahl's law with the collectives' time beside it.
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

/// The same of whichever kind of halving, doubling, folding and ring leaves the smallest errors; halving where they
/// leave the same, as of two ranks.
Link fit_any_link(std::span<const LinkPoint> points);

/// One such link from each size to the next, as libraries change algorithm and protocol with the size: the first from
/// nothing on, the last for all that is larger. Each is fitted to the points of both its sizes.
std::vector<Link> fit_links(std::span<const LinkPoint> points);

}  // namespace hack::jobs
