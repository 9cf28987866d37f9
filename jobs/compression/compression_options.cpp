#include "jobs/compression/compression_options.hpp"

#include <algorithm>
#include <array>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/compression/apply_times.hpp"
#include "jobs/compression/storage_words.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"
#include "model/llama/names.hpp"

namespace hack::jobs {
namespace {

constexpr std::string_view head_option = "head";

/// Of a number, scales included.
double bits_of(Codec codec) {
  const index_t n = 64;  // a multiple of all blocks
  return 8 * static_cast<double>(code_bytes(codec, n) + scale_bytes(codec, n)) / static_cast<double>(n);
}

/// Those of codecs that share a budget, where nobody named any: the two next below its bits a number and the two next
/// above. Measured losses are of the smallest one, and most like the archive's where that is near.
std::vector<std::string> codecs_around(double keep) {
  // One of each size, the smallest first.
  const std::array all = {Codec::q2_64, Codec::q3_64, Codec::iq4_nl, Codec::q5_0, Codec::q5_1, Codec::q8_0};
  const auto above = std::find_if(all.begin(), all.end(), [&](Codec codec) { return bits_of(codec) > 16 * keep; });
  std::vector<std::string> around;
  for (auto codec = all.begin(); codec != all.end(); ++codec) {
    if (codec - above >= -2 && codec - above < 2) around.emplace_back(to_string(*codec));
  }
  return around;
}

}  // namespace

void CompressionOptions::add_to(CLI::App& app) {
  app.add_option("--mode", mode, "tile, or full: one SVD for each whole matrix")
      ->check(one_of({"tile", "full"}))
      ->capture_default_str();
  app.add_option(
         "--tile", tile,
         "Rows and columns of a tile, or rows x columns as in 128x512; a size above the matrix's means all of it")
      ->check(CLI::Validator(
          [](const std::string& text) {
            try {
              svd::parse_tile_shape(text);
            } catch (const Error& error) {
              return std::string(error.what());
            }
            return std::string();
          },
          "SIZE"))
      ->capture_default_str();
  app.add_option("--matrices", matrices,
                 "Which ones: a list of q, k, v, o, gate, up, down, head; or all. A head that is the embedding table "
                 "too can be quantized; low rank leaves it out")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--factor-type", codec, "Number type the factors are stored in")
      ->check(codec_words())
      ->capture_default_str();
  app.add_option("--storage", storage,
                 "interpolative: a tile of rank k as k of its rows and the others' coefficients, k(h + w - k) numbers; "
                 "factors: U and V, k(h + w) numbers")
      ->transform(storage_words())
      ->capture_default_str();
  app.add_option(
         "--memory", memory,
         "What each rank may take of it, and of a GPU's, as 800M or 2G (--method plain): batches of matrices are "
         "as large as that allows. By default as small as serves")
      ->transform(byte_size());
  app.add_option("--objective", objective,
                 "bytes: the best terms of that size; time: the same, but with no tile in a form, be it a rank or a "
                 "codec, that --times measured as slower than dense")
      ->check(one_of({"bytes", "time"}))
      ->capture_default_str();
  app.add_option("--times", times, "Report of hack bench apply on the machine that the archive is for")
      ->type_name(input_type);
  app.add_option("--objective-tokens", objective_tokens, "Tokens of the products whose times count: 1 for decoding")
      ->check(whole(1, 1L << 24))
      ->capture_default_str();
  app.add_option(
         "--terms", terms,
         "What tiles are: quantized, numbers in codecs with blocks; or lowrank. By default quantized where --keep "
         "is fitted to a text: each matrix in the codec of those around the budget that the model's loss chooses")
      ->check(one_of({"quantized", "lowrank"}));
  calibration.add_to(app);
}

void CompressionOptions::settle_terms() {
  const bool is_fitted_budget = rule.kind == svd::RankRule::Kind::keep && !calibration.is_plain();
  if (terms.empty()) terms = !codecs.empty() || is_fitted_budget ? "quantized" : "lowrank";
  validate(terms == "quantized" || codecs.empty(),
           "--terms lowrank takes no --codec (given: {}); leave one of them out", fmt::join(codecs, ", "));
  if (terms != "quantized" || !codecs.empty()) return;
  validate(
      is_fitted_budget,
      "--terms quantized needs --keep, a budget for all matrices, and --calibration FILE; or --codec NAME in place "
      "of both");
  codecs = codecs_around(rule.value);
}

void CompressionOptions::leave_out_slow_codecs() {
  if (times.empty() || !quantizes()) return;
  const std::vector<Codec> timed = codecs_by_size(), fast = ApplyTimes(times).fast_codecs(timed, objective_tokens);
  codecs.clear();
  for (const Codec one : fast) codecs.emplace_back(to_string(one));
  validate(!fast.empty(),
           "--times {}: no codec is as fast as weights without scales for {} tokens; compress with --objective bytes",
           times, objective_tokens);
  validate(fast.size() > 1 || timed.size() == 1,
           "--times {}: of the codecs {} alone is as fast as weights without scales for {} tokens; give --codec {} in "
           "place of --keep",
           times, codecs.front(), objective_tokens, codecs.front());
}

void CompressionOptions::check() const {
  calibration.check();
  validate(
      (objective == "time") == !times.empty(),
      "--objective time and --times belong together (given: --objective {}, --times '{}'); run `hack bench apply MODEL "
      "--report FILE` for the latter",
      objective, times);
  validate(!stored().keeps_vectors() || calibration.is_plain(),
           "--max-rank keeps the vectors of --method plain, of which all ranks are slices (given: --method {}, whose "
           "factors depend on the rank); give --method plain, or a rank rule",
           calibration.method);
  validate(memory == 0 || calibration.is_plain(),
           "--memory bounds --method plain alone (given: --method {}); leave it out, or give --method plain",
           calibration.method);
  check_codecs();
  const std::vector<model::Linear> chosen = linears();
  if (calibration.refine == 0) return;
  for (const model::Linear linear : model::all_linears) {
    validate(!is_mlp(linear) || std::count(chosen.begin(), chosen.end(), linear) > 0,
             "--refine {} needs gate, up and down among --matrices ({} is missing): it fits a whole MLP; add it, or "
             "leave --refine out",
             calibration.refine, to_string(linear));
  }
}

void CompressionOptions::check_codecs() const {
  for (const std::string& name : codecs) {
    validate(
        spec_of(parse_codec(name)).block > 0,
        "--codec {}: its numbers share no scales, so there is nothing to fit; give a rank rule and --factor-type {}, "
        "or a codec with blocks",
        name, name);
  }
  if (!quantizes()) return;
  const bool has_budget = rule.kind == svd::RankRule::Kind::keep;
  validate(has_budget == (codecs.size() > 1),
           "--codec takes either one codec, which decides the size, or several and --keep for all matrices together "
           "(given: {} and {}--keep)",
           fmt::join(codecs, ", "), has_budget ? "" : "no ");
  validate(codecs.size() == 1 || (!calibration.is_plain() && calibration.allocation == "loss"),
           "codecs that share a budget ({}) are chosen by what they cost the model; leave out --method plain and "
           "--allocation, or give --terms lowrank",
           fmt::join(codecs, ","));
}

std::vector<Codec> CompressionOptions::codecs_by_size() const {
  std::vector<Codec> sorted;
  sorted.reserve(codecs.size());
  for (const std::string& name : codecs) sorted.push_back(parse_codec(name));
  std::stable_sort(sorted.begin(), sorted.end(), [](Codec a, Codec b) { return bits_of(a) < bits_of(b); });
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  return sorted;
}

double CompressionOptions::bits() const { return bits_of(codecs_by_size().back()); }

svd::CompressOptions CompressionOptions::stored() const {
  svd::CompressOptions how{svd::parse_tile_mode(mode), svd::parse_tile_shape(tile), rule,
                           quantizes() ? codecs_by_size().back() : parse_codec(codec), svd::parse_storage(storage)};
  if (!times.empty() && !quantizes())
    how.fast_share = ApplyTimes(times).fast_share(how.storage, how.codec, objective_tokens);
  if (how.keeps_vectors()) {
    how.codec = Codec::f32;
    how.storage = kernels::Structure::low_rank;
  }
  return how;
}

std::vector<model::Linear> CompressionOptions::linears() const {
  std::vector<model::Linear> linears;
  const bool all = matrices == std::vector<std::string>{"all"};
  for (const model::Linear linear : model::all_linears) {
    if (all || std::count(matrices.begin(), matrices.end(), to_string(linear)) > 0) linears.push_back(linear);
  }
  for (const std::string& name : matrices) {
    validate(all || name == head_option || model::find_linear(name),
             "--matrices: unknown matrix '{}' (known: q, k, v, o, gate, up, down, head; all alone for all of them)",
             name);
  }
  return linears;
}

bool CompressionOptions::takes_head(const model::LlamaConfig& config) const {
  const bool is_named = std::count(matrices.begin(), matrices.end(), head_option) > 0;
  const bool is_meant = is_named || matrices == std::vector<std::string>{"all"};
  if (!is_meant || !config.tied_embeddings) return is_meant;
  validate(!is_named || quantizes(),
           "--matrices head: the head of this model is its embedding table, whose rows are looked up; low rank cannot "
           "have that, leave it out or give --codec");
  if (!quantizes()) return false;
  const index_t width = stored().grid(config.vocab_size, config.hidden_size).tile(0).width;
  for (const Codec in : codecs_by_size()) {
    const index_t block = spec_of(in).block;
    validate(width == config.hidden_size || width % block == 0,
             "--tile {}: rows of the embedding table are looked up whole, so tiles must end with the blocks of {} ({} "
             "numbers); give another width",
             tile, to_string(in), block);
  }
  return true;
}

model::LayerwiseOptions CompressionOptions::layerwise(const model::LlamaConfig& config, DType type) const {
  model::LayerwiseOptions options{.storage = stored(), .linears = linears(), .head = takes_head(config), .type = type};
  calibration.apply_to(options, quantizes());
  if (quantizes()) {
    const bool makes_up = calibration.method == "feedback";
    options.quantize =
        svd::QuantizeOptions{calibration.damping, makes_up, makes_up ? svd::QuantizeOptions().passes : 0};
  }
  const Codec stored_as = options.storage.codec;
  const bool rounds = stored_as != Codec::f32 && !has_scales(stored_as);
  if (options.weighting.refit && rounds && options.storage.storage == kernels::Structure::low_rank) {
    options.weighting.rounding = plain_type(stored_as);
  }
  return options;
}

nlohmann::json CompressionOptions::describe() const {
  const svd::TileShape shape = svd::parse_tile_shape(tile);
  nlohmann::json how = {{"method", calibration.method},
                        {"mode", mode},
                        {"tile", shape.height},
                        {"matrices", matrices},
                        {std::string(to_string(rule.kind)), rule.value},
                        {"factor-type", to_string(stored().codec)},
                        {"storage", svd::storage_name(stored().storage)}};
  if (quantizes()) how["codec"] = codecs;
  if (objective == "time" && !quantizes()) how["fast-share"] = stored().fast_share;
  if (shape.width != shape.height) how["tile-width"] = shape.width;
  if (!calibration.is_plain()) how.update(calibration.describe(rule.kind == svd::RankRule::Kind::keep, quantizes()));
  if (target_loss) how["target-loss"] = *target_loss;
  return how;
}

}  // namespace hack::jobs
