#include "jobs/report/pictures.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/core.h>

#include "jobs/report/chart.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

const json& rows_of(const json& results, const char* key = "rows") {
  static const json none = json::array();
  const auto at = results.find(key);
  return at != results.end() && at->is_array() ? *at : none;
}

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

/// Series by name, in the order in which they come.
class SeriesList {
 public:
  Series& of(const std::string& name) {
    const auto at = std::find_if(all_.begin(), all_.end(), [&](const Series& one) { return one.name == name; });
    return at != all_.end() ? *at : all_.emplace_back(Series{.name = name, .points = {}});
  }
  std::vector<Series> take() { return std::move(all_); }

 private:
  std::vector<Series> all_;
};

/// The losses of all runs over the share of bytes that a model keeps.
struct LossPoints {
  SeriesList perplexity, divergence;

  void add(const std::string& setting, const std::string& label, double share, const json& scores,
           bool is_line = false) {
    const double divergence_of_it = number_at(scores, "divergence");
    // Sweeps and compressions measure both models and say which is which.
    const bool has_both = scores.is_object() && scores.contains("perplexity_after");
    perplexity.of(setting).points.push_back(
        {share, number_at(scores, has_both ? "perplexity_after" : "perplexity"), label});
    perplexity.of(setting).line = is_line;
    if (divergence_of_it != divergence_of_it) return;
    divergence.of(setting).points.push_back({share, divergence_of_it, label});
    divergence.of(setting).line = is_line;
  }
};

/// The name by which readers know a compression: its archive's, without the ending.
std::string label_of(const std::string& archive) { return std::filesystem::path(archive).stem().string(); }

void add_perplexity(const RunFile& run, const std::vector<RunFile>& runs, LossPoints& points) {
  const std::string archive = text_at(run.config, "archive");
  const std::string setting = fmt::format("protocol {}, {} windows of {}, {}", text_at(run.results, "protocol"),
                                          text_at(run.results, "windows"), text_at(run.results, "context"),
                                          file_name(text_at(run.config, "text")));
  if (archive.empty()) return points.add(setting, "dense", 1, run.results);
  for (const RunFile& made : runs) {
    if (made.command != "compress") continue;
    const bool is_its = text_at(made.results, "archive") == archive || text_at(made.config, "output") == archive;
    if (is_its) return points.add(setting, label_of(archive), number_at(made.results, "keep"), run.results);
  }
}

void add_rows(const RunFile& run, LossPoints& points) {
  for (const json& row : rows_of(run.results)) {
    const double share = number_at(row, "bytes_factors") / number_at(row, "bytes_dense");
    for (const json& scores : rows_of(row, "evaluation")) {
      const std::string method = text_at(row, "method");
      points.add(fmt::format("{}, {}", method, file_name(text_at(scores, "text"))), method == "dense" ? "dense" : "",
                 method == "dense" ? 1 : share, scores, true);
    }
  }
}

/// "model.layers.12.mlp.gate_proj.weight" -> (12, "gate"); -1 where no layer is named.
std::pair<int, std::string> layer_and_kind(const std::string& name) {
  const std::size_t at = name.find("layers.");
  int layer = -1;
  if (at == std::string::npos) return {layer, name};
  const char* end = std::from_chars(name.data() + at + 7, name.data() + name.size(), layer).ptr;
  std::string rest(end, name.data() + name.size());
  rest = rest.substr(0, rest.rfind(".weight"));
  rest = rest.substr(rest.rfind('.') + 1);
  return {layer, rest.substr(0, rest.find("_proj"))};
}

/// One figure of a compression's matrices over layers and kinds of matrices.
std::string grid_of(const std::string& title, const json& matrices, const char* key) {
  std::vector<std::string> kinds;
  std::map<std::pair<std::string, int>, double> values;
  std::set<int> layers;
  for (const json& matrix : matrices) {
    const auto [layer, kind] = layer_and_kind(text_at(matrix, "name"));
    if (layer < 0) continue;
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
    layers.insert(layer);
    values[{kind, layer}] = number_at(matrix, key);
  }
  ValueGrid grid;
  grid.rows = kinds;
  for (const int layer : layers) grid.columns.push_back(std::to_string(layer));
  for (const std::string& kind : kinds) {
    for (const int layer : layers) {
      const auto at = values.find({kind, layer});
      grid.values.push_back(at == values.end() ? NAN : at->second);
    }
  }
  return draw_grid(title, grid);
}

std::string draw_compression(const RunFile& run) {
  const json& matrices = rows_of(run.results, "matrices");
  std::string html = grid_of("Bytes over dense bytes, by layer and matrix", matrices, "keep");
  html += grid_of("Mean rank of tiles", matrices, "rank_mean");
  html += grid_of("Relative error of the weights", matrices, "relative_error");
  html += grid_of("Relative error on the calibration text's inputs", matrices, "weighted_relative_error");
  std::vector<Bar> bars;
  for (const char* phase : {"activations", "targets", "factors", "refinement", "archive"}) {
    const double seconds = number_at(run.results, fmt::format("seconds_{}", phase));
    if (seconds > 0) bars.push_back({phase, seconds, std::nullopt});
  }
  return html + draw_bars("Where the time went", "s", bars);
}

/// Rates of a bench with the limit beside each.
std::string draw_rates(const json& rows) {
  std::vector<Bar> bars;
  std::string unit;
  for (const json& row : rows) {
    for (const char* key : {"tokens_per_second", "tiles_per_second", "gigabytes_per_second"}) {
      const double rate = number_at(row, key);
      if (rate != rate || (!unit.empty() && unit != key)) continue;
      unit = key;
      std::string name = text_at(row, "part");
      for (const char* part : {"type", "tokens", "ranks", "vectors", "bytes"}) {
        const std::string value = text_at(row, part);
        if (!value.empty() && std::string(part) != "bytes") name += fmt::format(" {} {}", part, value);
      }
      const double limit = number_at(row, "limit");
      bars.push_back({name, rate, limit == limit ? std::optional(limit) : std::nullopt});
      break;
    }
  }
  std::replace(unit.begin(), unit.end(), '_', ' ');
  return bars.size() > 24 ? std::string() : draw_bars("Measured; the mark is the limit", unit, bars);
}

/// Time against rank for each number of tokens, with the dense product beside: where they cross, low rank begins to
/// pay.
std::string draw_products(const json& rows) {
  std::map<std::string, std::vector<Series>> by_case;
  std::map<std::string, double> dense;
  for (const json& row : rows) {
    const std::string setting = fmt::format("{} tokens, {}", text_at(row, "tokens"), text_at(row, "type"));
    if (text_at(row, "kind") == "dense" && text_at(row, "codec") == text_at(row, "type")) {
      dense[setting] = 1e3 * number_at(row, "seconds");
    }
  }
  for (const auto& [setting, milliseconds] : dense) {
    SeriesList series;
    double least = 1e9, most = 0;
    for (const json& row : rows) {
      const double rank = number_at(row, "rank");
      if (!(rank > 0) || fmt::format("{} tokens, {}", text_at(row, "tokens"), text_at(row, "type")) != setting)
        continue;
      series.of(fmt::format("{} {}", text_at(row, "kind"), text_at(row, "codec")))
          .points.push_back({rank, 1e3 * number_at(row, "seconds"), ""});
      least = std::min(least, rank), most = std::max(most, rank);
    }
    if (most == 0) continue;
    series.of("dense").points = {{least, milliseconds, ""}, {most, milliseconds, ""}};
    series.of("dense").dashed = true;
    by_case[setting] = series.take();
  }
  std::string html;
  for (auto& [setting, series] : by_case) {
    html += draw_chart("Time of a product against the rank of its tiles: " + setting, {"rank", "milliseconds"}, series);
  }
  return html;
}

/// Speed-up against ranks: measured, and dashed the model's and the ideal.
std::string draw_scaling(const json& results) {
  SeriesList series;
  std::map<std::string, double> rate;  // of the fewest ranks
  double most = 0;
  for (const json& row : rows_of(results)) {
    const double speedup = number_at(row, "speedup");
    if (speedup != speedup || text_at(row, "phase") == "read") continue;
    const std::string phase = text_at(row, "phase");
    const double ranks = number_at(row, "ranks");
    series.of(phase).points.push_back({ranks, speedup, ""});
    if (number_at(row, "base_ranks") == ranks) rate[phase] = number_at(row, "rate");
    most = std::max(most, ranks);
  }
  for (const json& row : rows_of(results, "larger")) {
    const std::string phase = text_at(row, "phase");
    if (!rate.contains(phase)) continue;
    Series& line = series.of(phase + ", model");
    line.dashed = true;
    line.points.push_back({number_at(row, "ranks"), number_at(row, "rate") / rate[phase], ""});
    most = std::max(most, number_at(row, "ranks"));
  }
  if (most < 2) return {};
  Series& ideal = series.of("ideal");
  ideal.dashed = true;
  ideal.points = {{1, 1, ""}, {most, most, ""}};
  return draw_chart("Speed-up against ranks", {"ranks", "speed-up", true, true}, series.take());
}

}  // namespace

std::string pictures_of_all(const std::vector<RunFile>& runs) {
  LossPoints points;
  for (const RunFile& run : runs) {
    if (run.command == "perplexity") add_perplexity(run, runs, points);
    if (run.command == "sweep") add_rows(run, points);
    if (run.command == "compress") {
      for (const json& scores : rows_of(run.results, "evaluation")) {
        points.add(file_name(text_at(scores, "text")), label_of(text_at(run.results, "archive")),
                   number_at(run.results, "keep"), scores);
      }
    }
  }
  const Axes axes{"stored bytes ÷ bytes at 16 bits", "perplexity", false, true};
  std::string html = draw_chart("Perplexity against stored bytes", axes, points.perplexity.take());
  html +=
      draw_chart("KL divergence from the dense model", {axes.x, "nats a token", false, true}, points.divergence.take());
  return html.empty() ? html : "<div class=\"pictures\">\n" + html + "</div>\n";
}

std::string pictures_of(const RunFile& run) {
  if (run.command == "compress") return draw_compression(run);
  if (run.command == "inspect") return grid_of("Bytes over dense bytes", rows_of(run.results, "matrices"), "keep");
  if (run.command == "study") return draw_scaling(run.results);
  if (run.command != "bench") return {};
  const std::string products = draw_products(rows_of(run.results));
  return products.empty() ? draw_rates(rows_of(run.results)) : products;
}

}  // namespace hack::jobs
