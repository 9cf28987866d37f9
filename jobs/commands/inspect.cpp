#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/commands/commands.hpp"
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

std::string words_of(const svd::TermEntry& term) {
  return fmt::format("{} {}", svd::to_string(term.structure), to_string(term.codec));
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

/// Compares runs of digits by the numbers that they are: layer 2 before layer 10.
bool is_before(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  while (!a.empty() && !b.empty()) {
    if (is_digit(a.front()) && is_digit(b.front())) {
      long x = 0, y = 0;
      a.remove_prefix(static_cast<std::size_t>(std::from_chars(a.data(), a.data() + a.size(), x).ptr - a.data()));
      b.remove_prefix(static_cast<std::size_t>(std::from_chars(b.data(), b.data() + b.size(), y).ptr - b.data()));
      if (x != y) return x < y;
      continue;
    }
    if (a.front() != b.front()) return a.front() < b.front();
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.size() < b.size();
}

std::vector<std::string> in_natural_order(std::vector<std::string> names) {
  std::stable_sort(names.begin(), names.end(), is_before);
  return names;
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
          {"matrices", matrices}};
}

class InspectCommand : public Command {
 public:
  explicit InspectCommand(CLI::App& parent)
      : Command(parent, "inspect", "Say what is in a model or a factor archive, and how it was made") {
    app_.add_option("PATH", path_, "Hugging Face directory, .gguf file or factor archive")
        ->required()
        ->type_name(input_type);
    common_.add_to(app_);
  }

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
