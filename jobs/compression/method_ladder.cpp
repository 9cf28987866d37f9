#include "jobs/compression/method_ladder.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "kernels/error.hpp"

namespace hack::jobs {

std::vector<std::string> ladder() {
  return {"plain-factors", "plain", "whiten",     "whiten-refit", "feedback",
          "feedback3",     "loss",  "propagated", "refined",      "quantized"};
}

CompressionOptions at_rung(CompressionOptions options, const std::string& name) {
  const std::vector<std::string> names = ladder();
  const auto rung = std::find(names.begin(), names.end(), name) - names.begin();
  validate(rung < std::ssize(names), "--methods: unknown method '{}' (known: {})", name, fmt::join(names, ", "));
  const auto reaches = [&](const char* step) {
    return rung >= std::find(names.begin(), names.end(), step) - names.begin();
  };
  CalibrationOptions& calibration = options.calibration;
  options.storage = reaches("plain") ? "interpolative" : "factors";
  calibration.method = reaches("feedback") ? "feedback" : reaches("whiten") ? "whiten" : "plain";
  calibration.no_refit = !reaches("whiten-refit");
  calibration.sweeps = reaches("feedback3") ? 3 : 1;
  calibration.allocation = reaches("loss") ? "loss" : "even";
  calibration.inputs = reaches("propagated") ? "compressed" : "dense";
  if (name != "refined") calibration.refine = 0;
  options.terms = name == "quantized" ? "quantized" : "lowrank";
  if (options.terms == "quantized") {
    options.objective = "bytes";
    options.times.clear();
  }
  if (calibration.is_plain()) calibration.texts.clear();
  return options;
}

}  // namespace hack::jobs
