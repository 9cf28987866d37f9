#include "jobs/compression/method_ladder.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "kernels/codec.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {

std::vector<std::string> ladder() {
  return {"plain-factors", "plain", "whiten",     "whiten-refit", "feedback",
          "feedback3",     "loss",  "propagated", "refined",      "quantized"};
}

std::optional<CodecMethod> codec_method(const std::string& name) {
  constexpr std::string_view plain = "-plain";
  const bool is_plain = name.ends_with(plain);
  const std::string codec = is_plain ? name.substr(0, name.size() - plain.size()) : name;
  for (const CodecSpec& spec : term_codec_specs) {
    if (spec.block > 0 && spec.name == codec) return CodecMethod{codec, is_plain};
  }
  return std::nullopt;
}

CompressionOptions at_rung(CompressionOptions options, const std::string& name) {
  if (const std::optional<CodecMethod> method = codec_method(name)) {
    CompressionOptions coded = at_rung(std::move(options), method->is_plain ? "plain" : "quantized");
    coded.codecs = {method->codec};
    coded.terms = "quantized";
    return coded;
  }
  const std::vector<std::string> names = ladder();
  const auto rung = std::find(names.begin(), names.end(), name) - names.begin();
  validate(rung < std::ssize(names),
           "--methods: unknown method '{}' (known: {}; a codec with blocks, as q4_0, or q4_0-plain)", name,
           fmt::join(names, ", "));
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
