#include "jobs/bench/bench_inference.hpp"

#include <nlohmann/json.hpp>

#include "jobs/bench/bench_limits.hpp"
#include "jobs/bench/bench_timing.hpp"
#include "comm/collective_timer.hpp"
#include "jobs/session/system_info.hpp"
#include "jobs/session/token_ids.hpp"
#include "kernels/stopwatch.hpp"
#include "model/llama/decoder.hpp"
#include "model/llama/llama.hpp"
#include "model/llama/phase_timer.hpp"

namespace hack::jobs {
namespace {

/// What a row says of every case.
nlohmann::json describe(const char* part, const Session& session, const BenchModel& model,
                        const InferenceBench& bench) {
  nlohmann::json row = {{"part", part},
                        {"tokens", bench.tokens},
                        {"type", model::name_of(bench.type)},
                        {"threads", session.threads()},
                        {"ranks", session.world().size()}};
  model.describe(row);
  return row;
}

/// Times one more run by phases, on the rank that took longest in products with weights; seconds. Ranks that wait for
/// each other before each collective take a little longer than in the runs before.
template <class Run>
nlohmann::json time_phases(const comm::Communicator& world, const Run& run) {
  comm::CollectiveTimer::start();
  model::PhaseTimer::start();
  const Stopwatch watch;
  run();
  const double whole = watch.seconds();
  const model::PhaseTimer::Times phases = model::PhaseTimer::stop();
  const comm::CollectiveTimer::Times calls = comm::CollectiveTimer::stop();
  const double communication = calls.wait + calls.exchange;
  const double rest = whole - phases.weights - phases.attention - communication;
  return {{"weights", comm::all_reduce_max(world, phases.weights)},
          {"attention", comm::all_reduce_max(world, phases.attention)},
          {"communication", comm::all_reduce_max(world, communication)},
          {"rest", comm::all_reduce_max(world, rest)}};
}

/// Operations of a token's products with `bytes` of this model's weights, over all ranks: two a number.
template <Device D>
double flops_per_token(const comm::Communicator& world, const model::Llama<D>& llama, double bytes) {
  const double numbers_per_byte =
      static_cast<double>(llama.numbers_per_token()) / static_cast<double>(llama.bytes_per_token());
  return comm::all_reduce_sum(world, 2 * bytes * numbers_per_byte);
}

/// Bytes of this rank's weights that the product of a prompt's token reads, on average over its `tokens`.
template <Device D>
double prompt_bytes(const model::Llama<D>& llama, index_t tokens) {
  const index_t once = llama.last_state_bytes() + llama.head_bytes();
  return static_cast<double>(llama.bytes_per_token() - once) + static_cast<double>(once) / static_cast<double>(tokens);
}

/// A model with what it runs on.
template <Device D>
struct Runner {
  Queue<D> queue;
  model::Llama<D> llama;
  model::KvCache<D> cache;
  std::vector<int> ids;

  Runner(const Session& session, const BenchModel& model, model::HeldType type, index_t capacity)
      : queue(session.threads(), session.products()),
        llama(model.source(type), session.world(), queue),
        cache(llama.make_cache(capacity)),
        ids(spread_ids(capacity, {0, llama.config().vocab_size})) {}
};

struct TimedRuns {
  std::vector<double> seconds;
  nlohmann::json phases;
};

/// Times runs that each follow begin(): one that is not counted, `repeats`, and one by phases, which does the same in
/// steps that can be timed.
template <class Begin, class Run, class Steps>
TimedRuns time_runs(const comm::Communicator& world, int repeats, const Begin& begin, const Run& run,
                    const Steps& steps) {
  TimedRuns timed;
  for (int r = -1; r < repeats; ++r) {
    begin();
    const double once = time_together(world, run);
    if (r >= 0) timed.seconds.push_back(once);
  }
  begin();
  timed.phases = time_phases(world, steps);
  return timed;
}

/// Adds the times of runs that took all tokens, and prints what there is.
nlohmann::json finish(Session& session, const InferenceBench& bench, nlohmann::json row, TimedRuns timed) {
  const Times times = Times::of(std::move(timed.seconds));
  const double rate = static_cast<double>(bench.tokens) / times.median;
  times.add_to(row);
  row["phases"] = std::move(timed.phases);
  row["tokens_per_second"] = rate;
  if (row.contains("bytes")) row["gigabytes_per_second"] = row["bytes"].get<double>() * rate * 1e-9;
  if (row.contains("flops")) row["gigaflops"] = row["flops"].get<double>() * rate * 1e-9;
  if (session.world().is_root()) {
    fmt::print("{}: {:.1f} tokens/s (median of runs between {:.3f} and {:.3f} s)", row["part"].get<std::string>(), rate,
               times.least, times.most);
    if (row.contains("gigabytes_per_second")) {
      fmt::print(", {:.1f} GB/s of weights; memory would allow {:.1f} tokens/s",
                 row["gigabytes_per_second"].get<double>(), row["limit"].get<double>());
    }
    if (row.contains("gigaflops")) {
      fmt::print(", {:.1f} GFLOP/s in products with weights; alone they would allow {:.1f} tokens/s",
                 row["gigaflops"].get<double>(), row["limit"].get<double>());
    }
    if (row.contains("peak_memory_bytes")) {
      fmt::print(", {:.0f} MB at the most", row["peak_memory_bytes"].get<double>() * 1e-6);
    }
    const nlohmann::json& phases = row["phases"];
    const auto share = [&](const char* phase) { return 100 * phases[phase].get<double>() / times.median; };
    fmt::print("\nphases: weights {:.0f} %, attention {:.0f} %, communication {:.0f} %, rest {:.0f} %\n",
               share("weights"), share("attention"), share("communication"), share("rest"));
  }
  return {{"rows", {row}}, {"tokens_per_second", rate}};
}

}  // namespace

template <Device D>
nlohmann::json bench_decode(Session& session, const BenchModel& model, const InferenceBench& bench) {
  constexpr index_t prompt = 16;
  const comm::Communicator& world = session.world();
  Runner<D> runner(session, model, bench.type, prompt + bench.tokens);
  auto& [queue, llama, cache, ids] = runner;
  const std::span<const int> first_ids = std::span(ids).first(prompt);
  model::Sampler greedy({});
  model::Decoder<D> decoder(llama, cache, greedy, first_ids);
  const auto begin = [&] {
    cache.clear();
    const MatrixView<const float, D> state = llama.last_state(first_ids, cache);
    decoder.restart(first_ids);
    decoder.first(state);
  };
  std::vector<double> one_token;  // of all runs in turn
  const auto decode = [&] {
    Stopwatch watch;
    for (index_t t = 0; t < bench.tokens; ++t) {
      decoder.next();
      one_token.push_back(watch.seconds());
      watch.restart();
    }
  };
  // A step that is replayed as a whole has no phases.
  const auto decode_in_steps = [&] {
    for (index_t t = 0; t < bench.tokens; ++t) llama.logits(llama.forward(std::span(ids).subspan(t, 1), cache));
  };
  TimedRuns timed = time_runs(world, bench.repeats, begin, decode, decode_in_steps);
  nlohmann::json row = describe("decode", session, model, bench);
  row["replayed"] = decoder.is_replayed();
  const Times latency = Times::of({one_token.begin() + bench.tokens, one_token.end()});
  row["token_seconds"] = latency.median;
  row["token_seconds_p99"] = latency.p99;
  row["bytes"] = comm::all_reduce_sum(world, static_cast<double>(llama.bytes_per_token()));
  row["bandwidth"] = measure_bandwidth(world, queue);
  row["limit"] = row["bandwidth"].get<double>() / row["bytes"].get<double>();
  return finish(session, bench, std::move(row), std::move(timed));
}

template <Device D>
nlohmann::json bench_prefill(Session& session, const BenchModel& model, const InferenceBench& bench) {
  const comm::Communicator& world = session.world();
  Runner<D> runner(session, model, bench.type, bench.tokens);
  auto& [queue, llama, cache, ids] = runner;
  const auto read_prompt = [&] { llama.logits(llama.last_state(ids, cache)); };
  TimedRuns timed = time_runs(
      world, bench.repeats, [&] { cache.clear(); }, read_prompt, read_prompt);
  nlohmann::json row = describe("prefill", session, model, bench);
  row["flops"] = flops_per_token(world, llama, prompt_bytes(llama, bench.tokens));
  row["limit"] = measure_product_rate(world, queue, bench.type.value_or(model.checkpoint().exact_type())) /
                 row["flops"].get<double>();
  return finish(session, bench, std::move(row), std::move(timed));
}

template <Device D>
nlohmann::json bench_perplexity(Session& session, const BenchModel& model, const InferenceBench& bench) {
  const comm::Communicator& world = session.world();
  Runner<D> runner(session, model, bench.type, bench.tokens);
  auto& [queue, llama, cache, ids] = runner;
  const auto score = [&] {
    const MatrixView<const float, D> states = llama.forward(ids, cache);
    llama.losses(states.rows_from(0, bench.tokens - 1), std::span(ids).subspan(1));
  };
  TimedRuns timed = time_runs(
      world, bench.repeats, [&] { cache.clear(); }, score, score);
  nlohmann::json row = describe("perplexity", session, model, bench);
  row["peak_memory_bytes"] = comm::all_reduce_max(world, peak_memory_bytes());
  row["flops"] = flops_per_token(world, llama, static_cast<double>(llama.bytes_per_token()));
  row["limit"] = measure_product_rate(world, queue, bench.type.value_or(model.checkpoint().exact_type())) /
                 row["flops"].get<double>();
  return finish(session, bench, std::move(row), std::move(timed));
}

#define HACK_INSTANTIATE(D)                                                                     \
  template nlohmann::json bench_decode<D>(Session&, const BenchModel&, const InferenceBench&);  \
  template nlohmann::json bench_prefill<D>(Session&, const BenchModel&, const InferenceBench&); \
  template nlohmann::json bench_perplexity<D>(Session&, const BenchModel&, const InferenceBench&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)

}  // namespace hack::jobs
