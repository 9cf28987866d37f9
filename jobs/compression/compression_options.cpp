#include "jobs/compression/compression_options.hpp"

#include <algorithm>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/compression/fast_share.hpp"
#include "jobs/compression/storage_words.hpp"
#include "kernels/error.hpp"
#include "model/llama/names.hpp"

namespace hack::jobs {
namespace {

constexpr std::string_view head_option = "head";

}  // namespace

void CompressionOptions::add_to(CLI::App& app) {
  app.add_option("--mode", mode, "tile, or full: one SVD for each whole matrix")
      ->check(CLI::IsMember({"tile", "full"}))
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
                 "Which ones: a list of q, k, v, o, gate, up, down, head; or all (of a model whose head is its "
                 "embedding table: all but that)")
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
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
         "--objective", objective,
         "bytes: the best factors of that size; time: the same, but with no tile in a form that --times measured as "
         "slower than dense")
      ->check(CLI::IsMember({"bytes", "time"}))
      ->capture_default_str();
  app.add_option("--times", times, "Report of hack bench apply on the machine that the factors are for");
  app.add_option("--objective-tokens", objective_tokens, "Tokens of the products whose times count: 1 for decoding")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  calibration.add_to(app);
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
  validate(calibration.refine == 0 && objective == "bytes",
           "--codec takes neither --refine nor --objective time: there are no factors; leave them out");
  const bool has_budget = rule.kind == svd::RankRule::Kind::keep;
  validate(has_budget == (codecs.size() > 1),
           "--codec takes either one codec, which decides the size, or several and --keep for all matrices together "
           "(given: {} and {}--keep)",
           fmt::join(codecs, ", "), has_budget ? "" : "no ");
  validate(codecs.size() == 1 || (!calibration.is_plain() && calibration.allocation == "loss"),
           "--codec {}: codecs are chosen by what they cost the model; leave out --method plain and --allocation",
           fmt::join(codecs, ","));
}

std::vector<Codec> CompressionOptions::codecs_by_size() const {
  std::vector<Codec> sorted;
  sorted.reserve(codecs.size());
  for (const std::string& name : codecs) sorted.push_back(parse_codec(name));
  const auto bytes = [](Codec of) {
    const index_t n = 64;  // a multiple of all blocks
    return code_bytes(of, n) + scale_bytes(of, n);
  };
  std::stable_sort(sorted.begin(), sorted.end(), [&](Codec a, Codec b) { return bytes(a) < bytes(b); });
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  return sorted;
}

svd::CompressOptions CompressionOptions::stored() const {
  svd::CompressOptions how{svd::parse_tile_mode(mode), svd::parse_tile_shape(tile), rule,
                           quantizes() ? codecs_by_size().back() : parse_codec(codec), svd::parse_storage(storage)};
  if (!times.empty()) how.fast_share = read_fast_share(times, how.storage, how.codec, objective_tokens);
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
  validate(!is_named || !config.tied_embeddings,
           "--matrices head: the head of this model is its embedding table, which stays as it is; leave it out");
  return is_named || (matrices == std::vector<std::string>{"all"} && !config.tied_embeddings);
}

model::LayerwiseOptions CompressionOptions::layerwise(const model::LlamaConfig& config, DType type) const {
  model::LayerwiseOptions options{.storage = stored(), .linears = linears(), .head = takes_head(config), .type = type};
  calibration.apply_to(options);
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
  if (objective == "time") how["fast-share"] = stored().fast_share;
  if (shape.width != shape.height) how["tile-width"] = shape.width;
  if (!calibration.is_plain()) how.update(calibration.describe(rule.kind == svd::RankRule::Kind::keep));
  if (target_loss) how["target-loss"] = *target_loss;
  return how;
}

}  // namespace hack::jobs
