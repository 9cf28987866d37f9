#include <unistd.h>

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/study/study_model.hpp"
#include "jobs/study/study_phases.hpp"
#include "jobs/study/study_table.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/output_claim.hpp"
#include "jobs/session/system_info.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/random_checkpoint.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

class StudyCommand : public Command {
 public:
  explicit StudyCommand(CLI::App& parent)
      : Command(parent, "study", "Time the phases on several numbers of this run's ranks, and predict more") {
    app_.add_option("SCALING", scaling_,
                    "strong: the same work for every number of ranks; weak: the same for each rank")
        ->required()
        ->check(one_of({"strong", "weak"}));
    add_model_options(app_, model_, archive_);
    app_.get_option("MODEL")->required(false);
    auto* shape = app_.add_option("--shape", shape_, "In place of MODEL: a published shape with random weights")
                      ->excludes("MODEL")
                      ->excludes("--archive");
    app_.add_option("--layers", layers_, "Its first layers alone")->needs(shape)->check(whole(1, 1L << 20));
    app_.add_option("--ranks", ranks_,
                    "Numbers of ranks, at most the ranks of this run (1,2,4, … and all; with --slice none)")
        ->delimiter(',')
        ->check(whole(1, 65536));
    app_.add_option("--phases", phases_, "What to time")
        ->delimiter(',')
        ->check(one_of({"read", "allreduce", "factorization", "prefill", "decode", "perplexity"}));
    app_.add_option("--repeats", work_.repeats, "Timed runs, after one that is not counted")
        ->check(whole(1, 1000))
        ->capture_default_str();
    add_count("--tiles", work_.tiles, "Tiles of the MLPs to factorize, at most");
    add_count("--prompt", work_.prompt, "Tokens of the prompt");
    add_count("--tokens", work_.tokens, "Tokens decoded");
    add_count("--context", work_.context, "Tokens of a window of the perplexity");
    add_count("--windows", work_.windows, "Windows of the perplexity");
    app_.add_option("--tensor-parallel", work_.tensor_parallel, "Ranks that share a copy in the perplexity")
        ->check(whole(1, 65536))
        ->capture_default_str();
    app_.add_option("--slice", slices_,
                    "Also one rank's share of a tensor-parallel job (p/P: alone; all/P: each of P ranks its own), the "
                    "all-reduces left out and added by the model")
        ->delimiter(',');
    app_.add_option("--links", links_,
                    "All-reduces of the model: times of a100-80gb, h100, h200 or a study's .json, not this run's")
        ->type_name(input_type);
    app_.add_option("--output", output_,
                    "Prefix of the results: PREFIX.json, .csv, .md; rows that PREFIX.records has are not timed again")
        ->required()
        ->type_name(output_type);
    common_.add_to(app_);
  }

  json run(Session& session) override {
    validate(model_.empty() != shape_.empty(), "study needs a model: give MODEL, or --shape for random weights");
    if (session.device() == Device::cuda) session.take_gpu();
    const comm::Communicator& world = session.world();
    work_.weak = scaling_ == "weak";
    const std::vector<int> counts = rank_counts(world.size());
    const std::vector<StudySlice> slices = chosen_slices(world.size(), counts);
    std::optional<Machine> links;
    if (!links_.empty()) links = open_machine(links_);
    const ModelFiles files = open_model(session);
    files.checkpoint().share_fingerprint(world, session.threads());
    const model::HeldType type = common_.held_type();
    const comm::OutputClaim claim = claim_output(session, "--output", output_ + ".records");
    std::optional<StudyTable> table;
    if (world.is_root()) table.emplace(output_, key(files, type));
    const double memory = memory_per_rank(world);
    for (const int ranks : counts) measure(session, files, type, ranks, table);
    for (const StudySlice& slice : slices) measure(session, files, type, slice, table);
    if (!world.is_root()) return {};
    table->compare();
    const StudyModel model =
        model_of(table->rows(), files.checkpoint().config(),
                 static_cast<double>(size_of(type.value_or(files.checkpoint().exact_type()))), work_, memory, links);
    const json parts = {{"machine", to_json(model.machine)},
                        {"held_out", model.held_out},
                        {"slices", model.slices},
                        {"larger", model.larger},
                        {"published", model.published}};
    const std::string text = table->finish(parts, title());
    fmt::print("{}", text);
    json results = parts;
    results["rows"] = table->rows();
    return results;
  }

 private:
  void add_count(const char* name, index_t& value, const char* description) {
    app_.add_option(name, value, description)->check(whole(1, 1L << 24))->capture_default_str();
  }

  ModelFiles open_model(const Session& session) const {
    if (shape_.empty()) return {session, model_, archive_};
    return ModelFiles(std::make_unique<model::RandomCheckpoint>(shape_, layers_, 0));
  }

  std::string title() const {
    const std::string of = shape_.empty() ? model_ : shape_ + (layers_ ? fmt::format(", {} layers", *layers_) : "");
    return fmt::format("{} scaling: {}", work_.weak ? "Weak" : "Strong", of);
  }

  std::vector<int> rank_counts(int most) const {
    std::vector<int> counts = ranks_;
    if (counts.empty()) {
      if (!slices_.empty()) return counts;
      for (int ranks = 1; ranks < most; ranks *= 2) counts.push_back(ranks);
      counts.push_back(most);
    }
    std::sort(counts.begin(), counts.end());
    counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
    validate(counts.back() <= most, "--ranks {} is more than this run has ({}); start it on more", counts.back(), most);
    for (const int ranks : counts) {
      const int tensor = std::min(ranks, work_.tensor_parallel);
      validate(ranks % tensor == 0, "--tensor-parallel {} does not fit {} ranks (it must divide them)", tensor, ranks);
    }
    return counts;
  }

  std::vector<StudySlice> chosen_slices(int most, const std::vector<int>& counts) const {
    std::vector<StudySlice> slices;
    for (const std::string& text : slices_) slices.push_back(StudySlice::parse(text));
    if (slices.empty()) return slices;
    validate(!work_.weak, "--slice goes with strong scaling (in weak scaling each rank has a copy of its own)");
    validate(!links_.empty() || (!counts.empty() && counts.back() > 1 && wants("allreduce")),
             "--slice needs the time of all-reduces; study two --ranks or more, or give --links");
    for (const StudySlice& slice : slices)
      validate(slice.ranks() <= most, "--slice {} needs {} ranks, this run has {}; start it on more", slice.text(),
               slice.parts, most);
    return slices;
  }

  /// Everything that the times depend on.
  json key(const ModelFiles& files, model::HeldType type) const {
    json key = describe_options(app_);
    for (const char* name :
         {"MODEL", "archive", "ranks", "phases", "slice", "links", "output", "deadline", "report", "quiet"})
      key.erase(name);
    key["model"] = files.checkpoint().fingerprint();
    key["compressed"] = files.archive() != nullptr;
    key["dtype"] = model::name_of(type);
    return key;
  }

  /// Of a node's memory; the same on every rank.
  static double memory_per_rank(const comm::Communicator& world) {
    const comm::Communicator node = world.split_by_node();
    const double all = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
    return -comm::all_reduce_max(world, -all / node.size());
  }

  bool wants(const char* phase) const {
    return phases_.empty() || std::find(phases_.begin(), phases_.end(), phase) != phases_.end();
  }

  /// Times on the first `ranks` ranks what the table has not; the others sleep.
  void measure(const Session& session, const ModelFiles& files, model::HeldType type, int ranks,
               std::optional<StudyTable>& table) {
    const comm::Communicator& world = session.world();
    const comm::Communicator group = world.split(world.rank() < ranks ? 0 : 1, world.rank());
    if (world.rank() < ranks) {
      StudyPhases phases(session, files, type, group, work_);
      const auto time = [&](const char* phase, const auto& rows_of) {
        once(session, group, table, {phase, ranks, ""}, rows_of);
      };
      time("read", [&] { return std::vector{phases.read()}; });
      time("allreduce", [&] { return phases.all_reduce(); });
      time("factorization", [&] { return std::vector{phases.factorization()}; });
      time("prefill", [&] { return std::vector{phases.prefill()}; });
      time("decode", [&] { return std::vector{phases.decode()}; });
      time("perplexity", [&] { return std::vector{phases.perplexity()}; });
    }
    world.barrier_asleep();
  }

  /// The same of a slice, on the ranks that it takes.
  void measure(const Session& session, const ModelFiles& files, model::HeldType type, const StudySlice& slice,
               std::optional<StudyTable>& table) {
    const comm::Communicator& world = session.world();
    const bool takes_part = world.rank() < slice.ranks();
    const comm::Communicator group = world.split(takes_part ? 0 : 1, world.rank());
    if (takes_part) {
      StudyPhases phases(session, files, type, group, work_, slice);
      const auto time = [&](const char* phase, const auto& rows_of) {
        once(session, group, table, {phase, slice.parts, slice.text()}, rows_of);
      };
      time("prefill", [&] { return std::vector{phases.prefill()}; });
      time("decode", [&] { return std::vector{phases.decode()}; });
    }
    world.barrier_asleep();
  }

  /// What is timed, and on how many ranks or of which slice.
  struct Point {
    const char* phase;
    int ranks;
    std::string slice;  ///< empty: none
  };

  /// Adds the rows of a point unless the table has them.
  template <class RowsOf>
  void once(const Session& session, const comm::Communicator& group, std::optional<StudyTable>& table,
            const Point& point, const RowsOf& rows_of) const {
    const auto& [phase, ranks, slice] = point;
    const std::string name = slice.empty() ? phase : std::string(phase) + " slice";
    const bool is_missing = wants(phase) && !(table && table->has(name, ranks, slice));
    // What rank 0 has counts for all.
    if (comm::all_reduce_max(group, group.is_root() && is_missing ? 1.0 : 0.0) == 0) return;
    session.log().info("{} {}", phase, slice.empty() ? fmt::format("on {} ranks", ranks) : "of slice " + slice);
    const std::vector<json> rows = rows_of();
    if (table && !rows.empty()) table->add(rows);
  }

  std::string scaling_, model_, archive_, shape_, output_, links_;
  std::vector<std::string> slices_;
  std::optional<long> layers_;
  std::vector<int> ranks_;
  std::vector<std::string> phases_;
  StudyWork work_;
};

}  // namespace

std::unique_ptr<Command> make_study(CLI::App& app) { return std::make_unique<StudyCommand>(app); }

}  // namespace hack::jobs
