#include "jobs/compression/selection.hpp"

#include <fstream>

#include <nlohmann/json.hpp>

#include "io/temporary_file.hpp"
#include "jobs/compression/storage_words.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "model/llama/names.hpp"

namespace hack::jobs {
namespace {

/// The matrices of an archive in the order in which `compress` writes them.
std::vector<std::string> names_in_order(const svd::FactorArchive& archive, const CompressionOptions& options) {
  std::vector<std::string> names;
  const index_t in_layers = std::ssize(archive.matrices()) - (archive.contains(model::head_name) ? 1 : 0);
  for (index_t layer = 0; std::ssize(names) < in_layers; ++layer) {
    const std::size_t before = names.size();
    for (const model::Linear linear : options.linears()) {
      std::string name = model::weight_name(layer, linear);
      if (archive.contains(name)) names.push_back(std::move(name));
    }
    validate(names.size() > before, "{}: holds other matrices than it says; compress the model again",
             archive.path().string());
  }
  if (archive.contains(model::head_name)) names.emplace_back(model::head_name);
  return names;
}

}  // namespace

void SelectionOptions::add_to(CLI::App& app) {
  const std::string group = "Ranks, of an --archive made with --max-rank";
  auto* by_share =
      app.add_option("--topk", topk, "This share of each tile's singular values")->check(number(0, 1))->group(group);
  auto* by_budget = app.add_option("--keep", keep, "A budget: this share of each matrix's dense bytes")
                        ->check(number_above(0, 1))
                        ->group(group);
  auto* by_error = app.add_option("--tolerance", tolerance, "As few as leave out at most this share of the tile's norm")
                       ->check(number(0, 1))
                       ->group(group);
  by_share->excludes(by_budget)->excludes(by_error);
  by_budget->excludes(by_error);
  app.add_option("--factor-type", codec, "Number type the chosen factors are rounded to")
      ->check(codec_words())
      ->capture_default_str()
      ->group(group);
  app.add_option("--storage", storage, "How they are held: interpolative or factors; see compress")
      ->transform(storage_words())
      ->capture_default_str()
      ->group(group);
}

std::optional<svd::RankRule> SelectionOptions::rule() const {
  using Kind = svd::RankRule::Kind;
  if (topk) return svd::RankRule{Kind::topk, *topk};
  if (keep) return svd::RankRule{Kind::keep, *keep};
  if (tolerance) return svd::RankRule{Kind::tolerance, *tolerance};
  return std::nullopt;
}

svd::TileFormat SelectionOptions::format() const { return {svd::parse_storage(storage), parse_codec(codec)}; }

bool is_archive(const std::string& path) {
  constexpr std::string_view signature = "\x89HDF\r\n\x1a\n";
  std::ifstream file(path, std::ios::binary);
  char start[8] = {};
  return file.read(start, sizeof(start)) && std::string_view(start, sizeof(start)) == signature;
}

CompressionOptions selection_options(const svd::FactorArchive& vectors, const CompressionOptions& wanted) {
  CompressionOptions options = wanted;
  options.calibration = {};
  options.calibration.method = "plain";
  const svd::ArchiveInfo& info = vectors.info();
  options.mode = to_string(info.compression.mode);
  options.tile = to_string(info.compression.tile);
  const nlohmann::json how = nlohmann::json::parse(info.header.options, nullptr, false);
  const auto matrices = how.is_object() ? how.find("matrices") : how.end();
  validate(how.is_object() && matrices != how.end() && matrices->is_array() &&
               std::all_of(matrices->begin(), matrices->end(), [](const auto& name) { return name.is_string(); }),
           "{}: does not say which matrices it was made of; compress the model again", vectors.path().string());
  options.matrices = matrices->get<std::vector<std::string>>();
  return options;
}

void refuse_ranks(const svd::RankError& error) {
  if (error.needed() > 0) {
    fail("{}; choose less, or compress the model again with --max-rank {}", error.what(), error.needed());
  }
  fail("{}; compress the model again for other ranks, or once for all with --method plain --max-rank R", error.what());
}

Compressed compress_archive(const Session& session, const svd::FactorArchive& vectors,
                            const CompressionOptions& options, const std::filesystem::path& output) {
  io::place_of(output);  // where it cannot be written, that is an error now
  const Stopwatch watch;
  const svd::CompressOptions stored = options.stored();
  const svd::SelectedFactors factors =
      choosing_ranks([&] { return svd::SelectedFactors(vectors, stored.rule, stored.format(), session.threads()); });
  const svd::ArchiveHeader& made = vectors.info().header;
  const std::vector<std::string> names = names_in_order(vectors, options);
  svd::write_selection(session.world(), factors, names,
                       {HACK_VERSION, made.model_fingerprint, made.model, made.method, options.describe().dump()},
                       output);
  Compressed result;
  for (const std::string& name : names) result.matrices.push_back(factors.summary(name));
  result.total = svd::total_of(result.matrices);
  result.seconds = watch.seconds();
  return result;
}

}  // namespace hack::jobs
