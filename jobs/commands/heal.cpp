#include <nlohmann/json.hpp>

#include "io/temporary_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/healing.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/output_claim.hpp"

namespace hack::jobs {
namespace {

class HealCommand : public Command {
 public:
  explicit HealCommand(CLI::App& parent)
      : Command(parent, "heal", "Train a compressed model's numbers against the dense model") {
    add_model_options(app_, model_, archive_);
    app_.get_option("--archive")->required();
    app_.add_option("--output", output_, "The archive to write (HDF5)")->required()->type_name(output_type);
    app_.add_option("--text", options_.texts, "UTF-8 texts to train on; the last windows are held out")
        ->required()
        ->type_name(input_type);
    options_.add_to(app_, 240);
    app_.add_option("--tensor-parallel", options_.tensor_parallel,
                    "Ranks that share one copy of the models; the copies share a step's windows out. 0: as few as "
                    "leave a window to each copy")
        ->check(whole(0, 65536))
        ->capture_default_str();
    app_.add_flag("--resume", options_.resume,
                  "Go on where a killed run has ended; its state is kept in OUTPUT.heal until the archive is whole. "
                  "Without it such a folder is removed and all begins anew");
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    for_option("--output", [&] { io::place_of(output_); });
    const comm::OutputClaim claim = claim_output(session, "--output", output_);
    const ModelFiles files(session, model_, archive_);
    const Healed healed = heal(session, files, options_, output_);
    if (!session.world().is_root()) return {};
    return report_healed(healed, options_, output_);
  }

 private:
  std::string model_, archive_, output_;
  HealingOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_heal(CLI::App& app) { return std::make_unique<HealCommand>(app); }

}  // namespace hack::jobs
