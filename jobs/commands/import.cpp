#include <array>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/temporary_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/compression.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/output_claim.hpp"
#include "kernels/config.hpp"
#include "kernels/error.hpp"
#include "model/import/model_import.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/collective_try.hpp"

namespace hack::jobs {
namespace {

class ImportCommand : public Command {
 public:
  explicit ImportCommand(CLI::App& parent)
      : Command(parent, "import", "Make a factor archive of what another program has compressed") {
    app_.add_option("DIRECTORY", directory_,
                    "Hugging Face directory in which matrices are two linear layers each, as SVD-LLM and ASVD have "
                    "them, or quantised by GPTQ")
        ->required()
        ->type_name(input_type);
    app_.add_option("--base", base_, "The model that was compressed; it runs with the archive")
        ->required()
        ->type_name(input_type);
    app_.add_option("--output", output_, "The archive to write (HDF5)")->required()->type_name(output_type);
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    const comm::Communicator& world = session.world();
    for_option("--output", [&] { io::place_of(output_); });
    const comm::OutputClaim claim = claim_output(session, "--output", output_);
    const auto base = for_option("--base", [&] { return model::Checkpoint::open(base_); });
    for (const std::string& warning : base->warnings()) session.log().info("warning: {}", warning);
    const model::ModelImport source(*base, directory_);
    svd::collective_try(world, [&] {
      if (world.is_root()) source.check_rest();
    });
    base->share_fingerprint(world, session.threads());
    write(session, *base, source);
    return world.is_root() ? describe_archive(source) : nlohmann::json();
  }

 private:
  /// Each rank makes one of so many matrices as there are ranks; all write them one after the other.
  void write(const Session& session, const model::Checkpoint& base, const model::ModelImport& source) const {
    const comm::Communicator& world = session.world();
    Queue<Device::cpu> queue(session.threads());
    svd::FactorArchiveWriter writer(world, output_, {header(base, source), source.storage()});
    const std::vector<std::string> names = source.matrices();
    Progress progress(session.log(), "importing", "matrices");
    for (index_t first = 0; first < std::ssize(names); first += world.size()) {
      const index_t count = std::min<index_t>(world.size(), std::ssize(names) - first);
      std::optional<svd::MatrixPart> own;
      svd::collective_try(world, [&] {
        if (world.rank() < count) own = source.part(first + world.rank(), queue);
      });
      for (int owner = 0; owner < count; ++owner) {
        write_part(world, writer, owner, names[static_cast<std::size_t>(first + owner)], own);
      }
      progress.update(first + count, std::ssize(names));
    }
    writer.finish();
  }

  /// Writes a matrix of which the owner has all tiles, and the others none; nothing where the owner has none either.
  static void write_part(const comm::Communicator& world, svd::FactorArchiveWriter& writer, int owner,
                         const std::string& name, const std::optional<svd::MatrixPart>& own) {
    const bool is_own = world.rank() == owner;
    std::array<index_t, 4> sizes{};  // of matrix and tiles
    if (is_own && own) sizes = {own->grid.rows(), own->grid.cols(), own->grid.tile_height(), own->grid.tile_width()};
    comm::broadcast(world, std::as_writable_bytes(std::span(sizes)), owner);
    if (sizes[0] == 0) return;
    if (is_own) return writer.write(*own);
    const svd::TileGrid grid(sizes[0], sizes[1], sizes[2], sizes[3]);
    const index_t first = world.rank() < owner ? 0 : grid.size();
    writer.write({.name = name, .grid = grid, .first_tile = first, .has_spectra = false});
  }

  svd::ArchiveHeader header(const model::Checkpoint& base, const model::ModelImport& source) const {
    return {.program_version = HACK_VERSION,
            .model_fingerprint = base.fingerprint(),
            .model = nlohmann::json(base.config()).dump(),
            .method = source.method(),
            .options = nlohmann::json{{"imported", directory_}}.dump()};
  }

  nlohmann::json describe_archive(const model::ModelImport& source) const {
    const svd::FactorArchive archive(output_);
    std::vector<svd::CompressionSummary> summaries;
    std::map<std::string, int> kinds;
    nlohmann::json matrices = nlohmann::json::array();
    for (const std::string& name : archive.matrices()) {
      const svd::MatrixEntry& matrix = archive.matrix(name);
      svd::CompressionSummary summary{.name = name,
                                      .bytes_factors = matrix.bytes_factors,
                                      .bytes_dense = matrix.bytes_dense,
                                      .tiles = matrix.grid.size()};
      for (const double energy : matrix.energies) summary.energy += energy;
      for (const double lost : matrix.discarded) summary.discarded += lost;
      const svd::TermEntry& term = matrix.terms.front();
      const std::string kind = fmt::format("{} {}", svd::to_string(term.structure), to_string(term.codec));
      ++kinds[kind];
      matrices.push_back({{"name", name}, {"terms", kind}, {"relative_error", summary.relative_error()}});
      summaries.push_back(std::move(summary));
    }
    const svd::CompressionSummary total = svd::total_of(summaries);
    fmt::print("{}: {} matrices ({}), {} in place of {} ({:.2f} %), relative error {:.4f}\n", output_, summaries.size(),
               source.method(), format_bytes(static_cast<double>(total.bytes_factors)),
               format_bytes(static_cast<double>(total.bytes_dense)), 100 * total.keep(), total.relative_error());
    for (const auto& [kind, count] : kinds) fmt::print("  {:>5} in {}\n", count, kind);
    return {{"archive", output_},
            {"method", source.method()},
            {"terms", kinds},
            {"matrices", matrices},
            {"keep", total.keep()},
            {"bytes_factors", total.bytes_factors},
            {"bytes_dense", total.bytes_dense},
            {"relative_error", total.relative_error()}};
  }

  std::string directory_, base_, output_;
};

}  // namespace

std::unique_ptr<Command> make_import(CLI::App& app) { return std::make_unique<ImportCommand>(app); }

}  // namespace hack::jobs
