#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "svd/tile/storage.hpp"

namespace hack::jobs {

/// What a report of `hack bench apply` says of a machine: which forms of a matrix it multiplies as fast as the dense
/// one.
class ApplyTimes {
 public:
  /// An Error names the file where it is no such report.
  explicit ApplyTimes(const std::string& report);

  /// Share of a tile's full rank up to which its low-rank form was no slower than the dense one, for products of
  /// `tokens` tokens with factors in `codec` beside dense weights in its plain type; tiles of reports are 128 × 128. An
  /// Error names the file where it has no such figure, or no rank was faster.
  double fast_share(svd::Structure storage, Codec codec, long tokens) const;

  /// Those of the codecs in which a matrix was multiplied with so many tokens no slower than in the fastest type
  /// without scales. An Error names the file where it has no such figures.
  std::vector<Codec> fast_codecs(std::span<const Codec> codecs, long tokens) const;

 private:
  std::string report_;
  nlohmann::json results_;
};

}  // namespace hack::jobs
