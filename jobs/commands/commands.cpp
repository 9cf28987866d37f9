#include "jobs/commands/commands.hpp"

#include "jobs/commands/examples.hpp"

namespace hack::jobs {

std::vector<std::unique_ptr<Command>> make_commands(CLI::App& app) {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_compress(app));
  commands.push_back(make_heal(app));
  commands.push_back(make_sweep(app));
  commands.push_back(make_perplexity(app));
  commands.push_back(make_evaluate(app));
  commands.push_back(make_generate(app));
  commands.push_back(make_export(app));
  commands.push_back(make_import(app));
  commands.push_back(make_inspect(app));
  commands.push_back(make_tokenize(app));
  commands.push_back(make_bench(app));
  commands.push_back(make_study(app));
  commands.push_back(make_plan(app));
  commands.push_back(make_report(app));
  commands.push_back(make_doctor(app));
  add_examples(app);
  return commands;
}

}  // namespace hack::jobs
