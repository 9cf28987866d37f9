#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/commands/commands.hpp"
#include "jobs/compression/archive_glance.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/selection.hpp"
#include "jobs/session/file_options.hpp"
#include "kernels/error.hpp"
#include "model/llama/names.hpp"
#include "svd/tile/storage.hpp"

namespace hack::jobs {
namespace {

/// The fingerprint, after it is printed; empty where a tensor cannot be read.
std::string print_fingerprint(const model::Checkpoint& checkpoint) {
  for (const std::string& warning : checkpoint.warnings()) fmt::print("  warning: {}\n", warning);
  try {
    const std::string& fingerprint = checkpoint.fingerprint();
    fmt::print("  runs exactly in {}; fingerprint {}\n", to_string(checkpoint.exact_type()), fingerprint);
    return fingerprint;
  } catch (const Error& error) {
    fmt::print("  does not run: {}\n", error.what());
    return {};
  }
}

/// Tensors of a layer (or outside all) by stored type.
struct LayerTypes {
  std::map<std::string, std::pair<long, double>> types;  ///< tensors, bytes
  double bytes = 0;

  bool operator==(const LayerTypes& other) const = default;
};

/// A line for each run of layers that are stored alike, with a bar of its share of the file.
void print_layers(const model::Checkpoint& checkpoint) {
  std::map<int, LayerTypes> layers;
  double all = 0;
  for (const std::string& name : checkpoint.names()) {
    const model::TensorInfo info = checkpoint.info(name);
    LayerTypes& layer = layers[layer_of(name)];
    auto& [tensors, bytes] = layer.types[info.type];
    ++tensors;
    bytes += static_cast<double>(info.bytes);
    layer.bytes += static_cast<double>(info.bytes);
    all += static_cast<double>(info.bytes);
  }
  for (auto at = layers.begin(); at != layers.end();) {
    auto last = at;
    while (at->first >= 0 && std::next(last) != layers.end() && std::next(last)->second == at->second) ++last;
    const double count = last->first - at->first + 1, bytes = at->second.bytes;
    const std::string name = at->first < 0 ? "rest"
                             : last == at  ? fmt::format("layer {}", at->first)
                                           : fmt::format("layers {}-{}", at->first, last->first);
    std::string types;
    for (const auto& [type, kind] : at->second.types) {
      types += fmt::format("{}{} {} ({})", types.empty() ? "" : ", ", kind.first, type, format_bytes(kind.second));
    }
    fmt::print("  {:<13} {} {:>5.1f}%  {}{}\n", name, bar(count * bytes / all, 20), 100 * count * bytes / all,
               last == at ? "" : "each ", types);
    at = std::next(last);
  }
}

nlohmann::json inspect_model(const std::string& path) {
  const auto checkpoint = model::Checkpoint::open(path);
  const model::LlamaConfig& config = checkpoint->config();
  struct Kind {
    long tensors = 0;
    double parameters = 0, bytes = 0;
  };
  std::map<std::string, Kind> kinds;  // by stored type
  double parameters = 0, mlp = 0, bytes = 0;
  nlohmann::json tensors = nlohmann::json::array();
  for (const std::string& name : checkpoint->names()) {
    const model::TensorInfo info = checkpoint->info(name);
    const double n = static_cast<double>(info.rows) * static_cast<double>(info.cols);
    Kind& kind = kinds[info.type];
    ++kind.tensors;
    kind.parameters += n;
    kind.bytes += static_cast<double>(info.bytes);
    parameters += n;
    bytes += static_cast<double>(info.bytes);
    if (name.find(".mlp.") != std::string::npos) mlp += n;
    tensors.push_back(
        {{"name", name}, {"rows", info.rows}, {"cols", info.cols}, {"type", info.type}, {"bytes", info.bytes}});
  }
  fmt::print("{}\n", path);
  fmt::print(
      "  Llama: {} layers, hidden {}, intermediate {}, {} heads of {} ({} key/value), vocabulary {}, context {}{}\n",
      config.layers, config.hidden_size, config.intermediate_size, config.heads, config.head_dim, config.kv_heads,
      config.vocab_size, config.context_length, config.tied_embeddings ? ", head tied to the embedding" : "");
  fmt::print("  {:.1f} M parameters, {:.1f} M of them in MLPs ({:.0f} %), {} on disk\n", parameters * 1e-6, mlp * 1e-6,
             100 * mlp / parameters, format_bytes(bytes));
  for (const auto& [type, kind] : kinds) {
    fmt::print("  {:<6} {:>5} tensors {:>10.1f} M parameters {:>12}\n", type, kind.tensors, kind.parameters * 1e-6,
               format_bytes(kind.bytes));
  }
  print_layers(*checkpoint);
  const std::string fingerprint = print_fingerprint(*checkpoint);
  return {{"kind", "model"},
          {"config", nlohmann::json(config)},
          {"parameters", parameters},
          {"mlp_parameters", mlp},
          {"bytes", bytes},
          {"exact_type", to_string(checkpoint->exact_type())},
          {"fingerprint", fingerprint},
          {"warnings", checkpoint->warnings()},
          {"tensors", tensors}};
}

nlohmann::json describe_matrix(const std::string& name, const svd::MatrixTable& entry) {
  std::int32_t low = std::numeric_limits<std::int32_t>::max(), high = 0;
  double sum = 0, energy = 0, discarded = 0;
  long dense = 0, interpolative = 0;
  std::map<std::string, long> terms;  // by structure and codec
  for (index_t t = 0; t < entry.grid.size(); ++t) {
    low = std::min(low, entry.rank(t));
    high = std::max(high, entry.rank(t));
    sum += entry.rank(t);
    energy += entry.energies[static_cast<std::size_t>(t)];
    discarded += entry.discarded[static_cast<std::size_t>(t)];
    dense += entry.structure(t) == svd::Structure::dense;
    interpolative += entry.structure(t) == svd::Structure::interpolative;
  }
  for (const svd::TermEntry& term : entry.terms) {
    ++terms[words_of(term)];
  }
  return {{"name", name},
          {"rows", entry.grid.rows()},
          {"cols", entry.grid.cols()},
          {"tiles", entry.grid.size()},
          {"dense_tiles", dense},
          {"interpolative_tiles", interpolative},
          {"terms", terms},
          {"rank_min", low},
          {"rank_mean", sum / static_cast<double>(entry.grid.size())},
          {"rank_max", high},
          {"relative_error", energy > 0 ? std::sqrt(discarded / energy) : 0.0},
          {"bytes_factors", entry.bytes_factors},
          {"bytes_dense", entry.bytes_dense},
          {"keep", static_cast<double>(entry.bytes_factors) / static_cast<double>(entry.bytes_dense)}};
}

/// A line a layer: what it keeps of its dense bytes, as a bar too.
nlohmann::json print_layers(const svd::FactorArchive& archive) {
  nlohmann::json layers = nlohmann::json::array();
  fmt::print("  {:>5}  {:<20} {:>7} {:>10} {:>7}  {}\n", "layer", "bytes of dense", "", "mean rank", "error", "terms");
  for (const LayerGlance& layer : glance_at_layers(archive)) {
    std::string terms;
    for (const auto& [words, count] : layer.terms) {
      terms += fmt::format("{}{} {}", terms.empty() ? "" : ", ", count, words);
    }
    const std::string number = layer.layer < 0 ? "–" : std::to_string(layer.layer);
    fmt::print("  {:>5}  {} {:>6.1f}% {:>10.1f} {:>7.4f}  {}\n", number, bar(layer.keep(), 20), 100 * layer.keep(),
               layer.mean_rank(), layer.relative_error(), terms);
    layers.push_back({{"layer", layer.layer},
                      {"keep", layer.keep()},
                      {"rank_mean", layer.mean_rank()},
                      {"relative_error", layer.relative_error()},
                      {"terms", layer.terms}});
  }
  return layers;
}

nlohmann::json print_worst_tiles(const svd::FactorArchive& archive) {
  nlohmann::json tiles = nlohmann::json::array();
  fmt::print("  tiles with the largest errors\n");
  for (const TileGlance& tile : worst_tiles(archive, 5)) {
    fmt::print("    {} tile ({}, {}): rank {}, relative error {:.4f}, {:.2f} % of the squared error of all\n",
               tile.matrix, tile.row, tile.column, tile.rank, tile.relative_error, 100 * tile.share);
    tiles.push_back({{"name", tile.matrix},
                     {"row", tile.row},
                     {"column", tile.column},
                     {"rank", tile.rank},
                     {"relative_error", tile.relative_error},
                     {"share", tile.share}});
  }
  return tiles;
}

nlohmann::json inspect_archive(const std::string& path) {
  const svd::FactorArchive archive(path);
  const svd::ArchiveInfo& info = archive.info();
  const svd::CompressOptions& how = info.compression;
  std::set<std::string> all_terms;
  for (const std::string& name : archive.matrices()) {
    for (const svd::TermEntry& term : archive.matrix(name).terms) all_terms.insert(words_of(term));
  }
  fmt::print("{}\n", path);
  fmt::print("  {} matrices, method {}, mode {}{}, {} {}, terms: {}\n", archive.matrices().size(), info.header.method,
             to_string(how.mode),
             how.mode == svd::TileMode::tile ? fmt::format(" of {} × {}", how.tile.height, how.tile.width) : "",
             to_string(how.rule.kind), how.rule.value, fmt::join(all_terms, ", "));
  fmt::print("  made by hack {} from the model with fingerprint {}\n", info.header.program_version,
             info.header.model_fingerprint);
  const nlohmann::json layers = print_layers(archive);
  fmt::print("  {:<44} {:>13} {:>6} {:>13} {:>6} {:>15} {:>8} {:>7}\n", "matrix", "shape", "tiles", "interpolative",
             "dense", "rank min-mean-max", "error", "bytes");
  double stored = 0, dense = 0;
  nlohmann::json matrices = nlohmann::json::array();
  for (const std::string& name : in_natural_order(archive.matrices())) {
    const nlohmann::json m = describe_matrix(name, archive.matrix(name));
    fmt::print("  {:<44} {:>6}×{:<6} {:>6} {:>13} {:>6} {:>5}-{:.1f}-{:<5} {:>8.4f} {:>6.1f}%\n", name,
               m["rows"].get<long>(), m["cols"].get<long>(), m["tiles"].get<long>(),
               m["interpolative_tiles"].get<long>(), m["dense_tiles"].get<long>(), m["rank_min"].get<long>(),
               m["rank_mean"].get<double>(), m["rank_max"].get<long>(), m["relative_error"].get<double>(),
               100 * m["keep"].get<double>());
    stored += m["bytes_factors"].get<double>();
    dense += m["bytes_dense"].get<double>();
    matrices.push_back(m);
  }
  const nlohmann::json worst = print_worst_tiles(archive);
  fmt::print("  {} of factors in place of {} dense: {:.2f} %\n", format_bytes(stored), format_bytes(dense),
             100 * stored / dense);
  return {{"kind", "archive"},
          {"method", info.header.method},
          {"mode", to_string(how.mode)},
          {"tile", how.tile.height},
          {"tile_width", how.tile.width},
          {"rank_rule", to_string(how.rule.kind)},
          {"rank_value", how.rule.value},
          {"factor_type", to_string(how.codec)},
          {"storage", svd::storage_name(how.storage)},
          {"program_version", info.header.program_version},
          {"model_fingerprint", info.header.model_fingerprint},
          {"model", nlohmann::json::parse(info.header.model, nullptr, false)},
          {"options", nlohmann::json::parse(info.header.options, nullptr, false)},
          {"bytes_factors", stored},
          {"bytes_dense", dense},
          {"layers", layers},
          {"worst_tiles", worst},
          {"matrices", matrices}};
}

class InspectCommand : public Command {
 public:
  explicit InspectCommand(CLI::App& parent)
      : Command(parent, "inspect", "Say what is in a model or a factor archive, and how it was made") {
    app_.add_option("PATH", path_, "Hugging Face directory, .gguf file or factor archive")
        ->required()
        ->type_name(input_type);
    common_.add_to(app_, {});
  }

  bool is_list() const override { return true; }

  nlohmann::json run(Session& session) override {
    if (!session.world().is_root()) return {};
    return is_archive(path_) ? inspect_archive(path_) : inspect_model(path_);
  }

 private:
  std::string path_;
};

}  // namespace

std::unique_ptr<Command> make_inspect(CLI::App& app) { return std::make_unique<InspectCommand>(app); }

}  // namespace hack::jobs
