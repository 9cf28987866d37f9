#include <algorithm>
#include <map>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "jobs/commands/commands.hpp"
#include "jobs/doctor/diagnosis.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

/// Prints what ranks see, once for all that see the same, and returns it.
json print_facts(const std::vector<RankFacts>& ranks) {
  std::vector<std::string> subjects;
  std::map<std::string, std::vector<std::pair<std::string, std::vector<int>>>> seen;  // by subject: text, ranks
  for (const RankFacts& facts : ranks) {
    for (const auto& [subject, text] : lines_of(facts)) {
      if (!seen.contains(subject)) subjects.push_back(subject);
      auto& texts = seen[subject];
      const auto same = std::find_if(texts.begin(), texts.end(), [&](const auto& one) { return one.first == text; });
      if (same != texts.end()) {
        same->second.push_back(facts.rank);
      } else {
        texts.push_back({text, {facts.rank}});
      }
    }
  }
  json all = json::object();
  for (const std::string& subject : subjects) {
    for (const auto& [text, of] : seen[subject]) {
      const std::string who = of.size() == ranks.size() ? "" : rank_list(of) + ": ";
      fmt::print("{:<9}{}{}\n", subject, who, text);
      all[subject].push_back({{"text", text}, {"ranks", of}});
    }
  }
  return all;
}

json print_findings(const std::vector<Finding>& findings, std::size_t ranks) {
  json all = json::array();
  for (const Finding& finding : findings) {
    const char* severity = finding.ends_runs ? "problem" : "warning";
    const std::string who = ranks > 1 && finding.ranks.size() < ranks ? rank_list(finding.ranks) + ": " : "";
    fmt::print("{}: {}{}\n         {}\n", severity, who, finding.what, finding.advice);
    all.push_back(
        {{"severity", severity}, {"what", finding.what}, {"advice", finding.advice}, {"ranks", finding.ranks}});
  }
  return all;
}

class DoctorCommand : public Command {
 public:
  explicit DoctorCommand(CLI::App& parent)
      : Command(parent, "doctor", "Say what a run finds here (MPI, GPU, HDF5, BLAS, cores, memory) and what is wrong") {
    common_.add_to(app_, {"--threads"});
  }

  json run(Session& session) override {
    const RankFacts mine = look_around(session.world(), session.threads());
    const GroupFacts group = check_group(session.world());
    const std::vector<RankFacts> ranks = gather_facts(session.world(), mine);
    if (!session.world().is_root()) return {};
    json facts = print_facts(ranks);
    if (group.ranks > 1) {
      fmt::print("{:<9}{} ranks on {} node{}; a sum of 16 KiB takes {:.3f} ms\n", "together", group.ranks, group.nodes,
                 group.nodes == 1 ? "" : "s", group.allreduce_seconds * 1e3);
    }
    const std::vector<Finding> findings = diagnose(ranks, group);
    const json described = print_findings(findings, ranks.size());
    const auto problems = std::count_if(findings.begin(), findings.end(), [](const Finding& f) { return f.ends_runs; });
    is_usable_ = problems == 0;
    fmt::print("{}\n", !is_usable_ ? "not usable until the problems are mended"
                       : findings.empty()
                           ? "usable, nothing is wrong"
                           : fmt::format("usable, {} warning{}", findings.size(), findings.size() == 1 ? "" : "s"));
    return {{"usable", is_usable_}, {"findings", described}, {"facts", facts}, {"together", group}, {"ranks", ranks}};
  }

  bool is_done() const override { return is_usable_; }

 private:
  bool is_usable_ = true;
};

}  // namespace

std::unique_ptr<Command> make_doctor(CLI::App& app) { return std::make_unique<DoctorCommand>(app); }

}  // namespace hack::jobs
