#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "io/replace_file.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/report/html.hpp"
#include "jobs/report/pictures.hpp"
#include "jobs/report/sections.hpp"
#include "jobs/session/file_options.hpp"
#include "kernels/config.hpp"

namespace hack::jobs {
namespace {

class ReportCommand : public Command {
 public:
  explicit ReportCommand(CLI::App& parent)
      : Command(parent, "report", "Make one page of tables and pictures from the reports of finished runs"),
        program_(parent) {
    app_.add_option("RUN", runs_, "Files that --report wrote, or PREFIX.json of a study")
        ->required()
        ->type_name(input_type);
    app_.add_option("--output", output_, "The page, an .html file without anything outside it")
        ->required()
        ->type_name(output_type);
    app_.add_option("--title", title_, "Heading of the page")->capture_default_str();
    common_.add_to(app_, {});
  }

  nlohmann::json run(Session& session) override {
    if (!session.world().is_root()) return {};
    for_option("--output", [&] { io::check_replaceable(output_); });
    std::vector<RunFile> runs;
    for (const std::string& path : runs_) runs.push_back(read_run(path));
    std::string body = fmt::format("<p class=\"faint\">made by hack {}; a heading sorts its table</p>\n", HACK_VERSION);
    body += pictures_of_all(runs) + summary(runs);
    for (std::size_t r = 0; r < runs.size(); ++r) body += section(runs[r], r, program_);
    for_option("--output", [&] { io::replace_file(output_, page(title_, body)); });
    fmt::print("{}: {} run{}\n", output_, runs.size(), runs.size() == 1 ? "" : "s");
    return {{"output", output_}, {"runs", runs.size()}};
  }

 private:
  const CLI::App& program_;
  std::vector<std::string> runs_;
  std::string output_, title_ = "Runs of hack";
};

}  // namespace

std::unique_ptr<Command> make_report(CLI::App& app) { return std::make_unique<ReportCommand>(app); }

}  // namespace hack::jobs
