#include "svd/compress.hpp"

#include <sstream>

#include "comm/collectives.hpp"
#include "jobs/commands.hpp"
#include "jobs/model_files.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"
#include "model/names.hpp"

namespace hack::jobs {
namespace {

nlohmann::json describe(const svd::CompressionSummary& summary) {
  return {{"keep", summary.keep()},
          {"bytes_factors", summary.bytes_factors},
          {"bytes_dense", summary.bytes_dense},
          {"relative_error", summary.relative_error()},
          {"tiles", summary.tiles},
          {"dense_tiles", summary.dense_tiles},
          {"rank_min", summary.min_rank},
          {"rank_mean", summary.mean_rank},
          {"rank_max", summary.max_rank}};
}

/// The linear layers that a list like "gate,up,down" names, of every layer in order.
std::vector<svd::MatrixSource> select_matrices(const model::Checkpoint& checkpoint,
                                               const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted) {
    const bool known = std::any_of(model::linear_names.begin(), model::linear_names.end(),
                                   [&](const model::LinearName& linear) { return linear.short_name == name; });
    validate(known, "--matrices: unknown matrix '{}' (known: q, k, v, o, gate, up, down)", name);
  }
  std::vector<svd::MatrixSource> sources;
  for (index_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    for (const model::LinearName& linear : model::linear_names) {
      if (std::find(wanted.begin(), wanted.end(), linear.short_name) == wanted.end()) continue;
      const std::string name = model::layer_prefix(layer) + std::string(linear.path) + ".weight";
      const model::TensorInfo info = checkpoint.info(name);
      sources.push_back(
          {name, info.rows, info.cols, [&checkpoint, name](index_t row, index_t col, MatrixView<float> out) {
             checkpoint.read(name, row, col, out);
           }});
    }
  }
  return sources;
}

class CompressCommand : public Command {
 public:
  explicit CompressCommand(CLI::App& parent)
      : Command(parent, "compress", "Factorize a model's matrices tile by tile into a factor archive") {
    app_.add_option("MODEL", model_, "Hugging Face directory or .gguf file")->required();
    app_.add_option("--output", output_, "The archive to write (HDF5)")->required();
    app_.add_option("--mode", mode_, "tile, or full: one SVD for each whole matrix")
        ->check(CLI::IsMember({"tile", "full"}))
        ->capture_default_str();
    app_.add_option("--tile", tile_, "Rows and columns of a tile")
        ->check(CLI::Range(1L, 1L << 20))
        ->capture_default_str();
    app_.add_option("--method", method_, "plain: the SVD of the weights themselves")
        ->check(CLI::IsMember({"plain"}))
        ->capture_default_str();
    app_.add_option("--matrices", matrices_, "Which ones: a list of q, k, v, o, gate, up, down")
        ->delimiter(',')
        ->capture_default_str();
    auto* rule = app_.add_option_group("rank rule", "How many singular values a tile keeps; one of");
    topk_ = rule->add_option("--topk", rule_value_, "This share of its singular values")->check(CLI::Range(0.0, 1.0));
    keep_ = rule->add_option("--keep", rule_value_, "What a matrix may spend: this share of its dense bytes")
                ->check(CLI::Range(0.0, 1.0));
    tolerance_ =
        rule->add_option("--tolerance", rule_value_, "As few as leave out at most this share of the tile's norm")
            ->check(CLI::NonNegativeNumber);
    rule->require_option(1);
    app_.add_option("--factor-type", factor_type_, "Number type the factors are stored in")
        ->check(CLI::IsMember({"f32", "bf16", "f16"}))
        ->capture_default_str();
    app_.add_option("--storage", storage_, "How tiles of low rank are stored: by pivot rows, or as two factors")
        ->check(CLI::IsMember({"pivoted", "factors"}))
        ->capture_default_str();
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    const ModelFiles files(model_, "");
    const model::Checkpoint& checkpoint = files.checkpoint();
    const std::vector<svd::MatrixSource> sources = select_matrices(checkpoint, matrices_);
    const svd::CompressOptions options{svd::parse_tile_mode(mode_), tile_, rule(), parse_dtype(factor_type_),
                                       svd::parse_storage(storage_)};
    // The archive must not depend on how many ranks or threads made it, nor on where its model lay.
    const nlohmann::json how = {{"method", method_},
                                {"mode", mode_},
                                {"tile", tile_},
                                {"matrices", matrices_},
                                {std::string(to_string(options.rule.kind)), rule_value_},
                                {"factor-type", factor_type_},
                                {"storage", storage_}};
    const svd::ArchiveHeader header{HACK_VERSION, checkpoint.fingerprint(), nlohmann::json(checkpoint.config()).dump(),
                                    method_, how.dump()};
    validate(session.device() == Device::cpu || session.options().device == "auto",
             "compress runs on the CPU only; use --device cpu");

    Queue<Device::cpu> queue(session.threads());
    const auto start = std::chrono::steady_clock::now();
    svd::CompressReport report;
    {
      Progress progress(session.log(), "compress", "tiles");
      report = svd::compress(session.world(), queue, sources, options, header, output_,
                             [&](index_t done, index_t total) { progress.update(done, total); });
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return session.world().is_root() ? answer(session, report, options, seconds) : nlohmann::json();
  }

 private:
  svd::RankRule rule() const {
    using Kind = svd::RankRule::Kind;
    return {topk_->count() > 0 ? Kind::topk : keep_->count() > 0 ? Kind::keep : Kind::tolerance, rule_value_};
  }

  nlohmann::json answer(const Session& session, const svd::CompressReport& report, const svd::CompressOptions& options,
                        double seconds) const {
    const ModelFiles compressed(model_, output_);
    const auto [model_dense, model_stored] = compressed.model_bytes(options.factor_type);
    const svd::CompressionSummary& total = report.total;
    fmt::print("{}: {} matrices, {} tiles ({} dense), ranks {} to {} (mean {:.1f}), relative error {:.4f}\n", output_,
               report.matrices.size(), total.tiles, total.dense_tiles, total.min_rank, total.max_rank, total.mean_rank,
               total.relative_error());
    fmt::print("  selected matrices: {} in place of {} ({:.2f} %); whole model: {} in place of {} ({:.2f} %)\n",
               format_bytes(static_cast<double>(total.bytes_factors)),
               format_bytes(static_cast<double>(total.bytes_dense)), 100 * total.keep(), format_bytes(model_stored),
               format_bytes(model_dense), 100 * model_stored / model_dense);
    if (total.keep() >= 1)
      session.log().info("warning: the archive is not smaller than the dense matrices; keep fewer singular values");
    nlohmann::json results = describe(total);
    results["archive"] = output_;
    results["model_bytes_factored"] = model_stored;
    results["model_bytes_dense"] = model_dense;
    results["model_keep"] = model_stored / model_dense;
    results["factor_type"] = factor_type_;
    results["seconds"] = seconds;
    results["seconds_reading"] = report.seconds_reading;
    results["seconds_factorizing"] = report.seconds_factorizing;
    results["seconds_writing"] = report.seconds_writing;
    results["tiles_per_second"] = static_cast<double>(total.tiles) / seconds;
    results["matrices"] = nlohmann::json::array();
    for (const svd::CompressionSummary& matrix : report.matrices) {
      nlohmann::json entry = describe(matrix);
      entry["name"] = matrix.name;
      results["matrices"].push_back(entry);
    }
    return results;
  }

  std::string model_, output_;
  std::string mode_ = "tile", method_ = "plain", factor_type_ = "bf16", storage_ = "pivoted";
  long tile_ = 128;
  std::vector<std::string> matrices_ = {"gate", "up", "down"};
  double rule_value_ = 0;
  CLI::Option* topk_ = nullptr;
  CLI::Option* keep_ = nullptr;
  CLI::Option* tolerance_ = nullptr;
};

}  // namespace

std::unique_ptr<Command> make_compress(CLI::App& app) { return std::make_unique<CompressCommand>(app); }

}  // namespace hack::jobs
