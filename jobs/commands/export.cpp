#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "io/temporary_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/selection.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/output_claim.hpp"
#include "kernels/error.hpp"
#include "model/export/model_exporter.hpp"
#include "svd/pipeline/collective_try.hpp"

namespace hack::jobs {
namespace {

class ExportCommand : public Command {
 public:
  explicit ExportCommand(CLI::App& parent)
      : Command(parent, "export", "Write a model, its compressed matrices included, for other programs") {
    add_model_options(app_, model_, archive_);
    app_.add_option(
            "--format", format_,
            "hf: a Hugging Face directory of dense weights; hf-factored: one that keeps the archive's terms, with a "
            "file that runs them in transformers; gguf: a file for llama.cpp")
        ->required()
        ->check(one_of({"hf", "hf-factored", "gguf"}));
    app_.add_option("--output", output_, "The directory, or the .gguf file")->required()->type_name(output_type);
    app_.add_option(
            "--type", type_,
            "Number type of matrices that are multiplied out; in a directory, of all weights but an archive's terms")
        ->check(one_of({"bf16", "f16", "f32"}))
        ->capture_default_str();
    selection_.add_to(app_);
    common_.add_to(app_, {"--threads"});
  }

  nlohmann::json run(Session& session) override {
    // Rank 0 writes. The others take part in what every step ends with, so that all learn of a failure.
    const comm::Communicator& world = session.world();
    check_place();
    const comm::OutputClaim claim = claim_output(session, "--output", output_);
    const ModelFiles files(session, model_, archive_, selection_);
    Queue<Device::cpu> queue(session.threads());
    std::unique_ptr<model::ModelExporter> exporter;
    svd::collective_try(world, [&] {
      if (world.is_root()) exporter = open(files, queue);
    });
    std::vector<int> size = {exporter ? static_cast<int>(exporter->size()) : 0};
    comm::broadcast(world, size);
    {
      Progress progress(session.log(), "exporting", "tensors");
      for (int done = 0; done < size.front(); ++done) {
        svd::collective_try(world, [&] {
          if (exporter) exporter->write_next();
        });
        progress.update(done + 1, size.front());
      }
    }
    svd::collective_try(world, [&] {
      if (exporter) exporter->finish();
    });
    return exporter ? describe(session, *exporter) : nlohmann::json();
  }

 private:
  /// An Error where the output cannot be made.
  void check_place() const {
    if (format_ == "gguf") {
      for_option("--output " + output_, [&] { io::place_of(output_); });
      return;
    }
    const std::filesystem::path above = absolute(std::filesystem::path(output_) / "..").lexically_normal();
    validate(is_directory(above), "--output {}: cannot make the directory (there is no folder {}); make it first",
             output_, above.string());
  }

  std::unique_ptr<model::ModelExporter> open(const ModelFiles& files, Queue<Device::cpu>& queue) const {
    const model::ExportSource source{files.checkpoint(), files.factors(), queue};
    return for_option("--output " + output_, [&] {
      const DType type = parse_dtype(type_);
      if (format_ == "gguf") return model::export_gguf(source, output_, type);
      return format_ == "hf" ? model::export_hf(source, output_, type)
                             : model::export_factored_hf(source, output_, type);
    });
  }

  nlohmann::json describe(const Session& session, const model::ModelExporter& exporter) const {
    for (const std::string& remark : exporter.remarks()) session.log().info("{}", remark);
    nlohmann::json types = nlohmann::json::object();
    double bytes = 0;
    fmt::print("{}\n", output_);
    for (const auto& [type, kind] : exporter.kinds()) {
      fmt::print("  {:<6} {:>5} tensors {:>12}\n", type, kind.tensors, format_bytes(static_cast<double>(kind.bytes)));
      types[type] = {{"tensors", kind.tensors}, {"bytes", kind.bytes}};
      bytes += static_cast<double>(kind.bytes);
    }
    return {{"types", types}, {"bytes", bytes}, {"remarks", exporter.remarks()}};
  }

  std::string model_, archive_, format_, output_, type_ = "bf16";
  SelectionOptions selection_;
};

}  // namespace

std::unique_ptr<Command> make_export(CLI::App& app) { return std::make_unique<ExportCommand>(app); }

}  // namespace hack::jobs
