#include "jobs/bench/bench_draft.hpp"

#include <nlohmann/json.hpp>

#include "jobs/bench/bench_timing.hpp"
#include "jobs/session/token_ids.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

std::vector<int> prompt_ids(const Session& session, const model::Checkpoint& checkpoint, const std::string& prompt) {
  if (!prompt.empty()) return encode_on_root(session.world(), checkpoint, "--prompt", prompt).ids;
  return spread_ids(16, {0, checkpoint.config().vocab_size});
}

/// A model and its draft, which decode the same text in turn.
template <Device D>
class DraftBench {
 public:
  DraftBench(const model::DraftedModel<D>& models, const DraftOptions& options, std::vector<int> prompt, index_t tokens)
      : models_(models), options_(options), prompt_(std::move(prompt)), until_{tokens, {}} {}

  double plain_seconds() {
    model::Sampler greedy({});
    const model::Generated text = model::generate(models_.model, std::span<const int>(prompt_), until_, greedy, go_on);
    plain_ids_ = text.ids;
    return text.decode_seconds;
  }

  double drafted_seconds() {
    model::Sampler greedy({});
    model::DraftLength length = options_.length();
    last_ = model::generate_drafted(models_, std::span<const int>(prompt_), until_, greedy, length, go_on);
    validate(D != Device::cpu || last_.text.ids == plain_ids_,
             "the text with the draft is not that of the model alone (a fault of the program)");
    return last_.text.decode_seconds;
  }

  nlohmann::json last_report() const { return options_.report(last_); }

 private:
  static bool go_on(int) { return true; }

  model::DraftedModel<D> models_;
  const DraftOptions& options_;
  std::vector<int> prompt_, plain_ids_;
  model::GenerateOptions until_;
  model::DraftedText last_;
};

}  // namespace

template <Device D>
nlohmann::json bench_draft(Session& session, const BenchModel& model, const InferenceBench& bench,
                           const DraftOptions& options, const std::string& prompt) {
  const comm::Communicator& world = session.world();
  const svd::FactorArchive archive = options.open(session, model.files());
  Queue<D> queue(session.threads(), session.products());
  model::Llama<D> llama(model.source(bench.type), world, queue);
  model::Llama<D> draft({model.checkpoint(), &archive, bench.type}, world, queue);
  DraftBench<D> both({llama, draft}, options, prompt_ids(session, model.checkpoint(), prompt), bench.tokens);
  std::vector<double> plain, drafted, ratios;
  for (int r = -1; r < bench.repeats; ++r) {
    const double alone = comm::all_reduce_max(world, both.plain_seconds());
    const double with = comm::all_reduce_max(world, both.drafted_seconds());
    if (r < 0) continue;
    plain.push_back(alone);
    drafted.push_back(with);
    ratios.push_back(alone / with);
  }
  nlohmann::json row = both.last_report();
  const double decoded = static_cast<double>(bench.tokens) - 1;  // the first comes with the prompt
  row["part"] = "decode";
  row["tokens"] = bench.tokens;
  row["type"] = model::name_of(bench.type);
  row["threads"] = session.threads();
  row["ranks"] = world.size();
  model.describe(row);
  const Times times = Times::of(drafted);
  times.add_to(row);
  row["tokens_per_second"] = decoded / times.median;
  row["plain_tokens_per_second"] = decoded / Times::of(plain).median;
  row["ratio"] = Times::of(ratios).median;
  row["limit"] = row["expected_tokens_per_second"];
  row["share_of_expected"] =
      row["limit"] > 0 ? row["tokens_per_second"].get<double>() / row["limit"].get<double>() : 0.0;
  if (world.is_root()) {
    fmt::print(
        "decode with a draft: {:.1f} tokens/s, the model alone {:.1f} ({:.2f} times, medians of {} runs in turn)\n{}\n",
        row["tokens_per_second"].get<double>(), row["plain_tokens_per_second"].get<double>(),
        row["ratio"].get<double>(), bench.repeats, DraftOptions::words(row));
  }
  return {{"rows", {row}}, {"tokens_per_second", row["tokens_per_second"]}};
}

#define HACK_INSTANTIATE(D)                                                                                       \
  template nlohmann::json bench_draft<D>(Session&, const BenchModel&, const InferenceBench&, const DraftOptions&, \
                                         const std::string&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::jobs
