#include <algorithm>
#include <chrono>
#include <numeric>

#include "comm/collectives.hpp"
#include "jobs/bench_allreduce.hpp"
#include "jobs/bench_svd.hpp"
#include "jobs/commands.hpp"
#include "jobs/model_files.hpp"
#include "jobs/read_bandwidth.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"
#include "model/generate.hpp"
#include "model/perplexity.hpp"

namespace hack::jobs {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Bytes a second that this rank's GPU moves, by sums of vectors: two are read and one is written.
double measure_gpu_bandwidth(Queue<Device::cuda>& queue) {
  constexpr index_t n = index_t{1} << 26;
  constexpr int repeats = 10;
  const std::vector<float> zeros(static_cast<std::size_t>(n));
  const auto x = to_device<Device::cuda>(zeros.data(), n);
  auto y = to_device<Device::cuda>(zeros.data(), n);
  double best = 0;
  for (int r = 0; r < repeats; ++r) {
    queue.wait();
    const Clock::time_point start = Clock::now();
    kernels::add<Device::cuda>(queue, {x.data(), 1024, n / 1024}, {y.data(), 1024, n / 1024});
    queue.wait();
    best = std::max(best, 3.0 * static_cast<double>(x.bytes()) / seconds_since(start));
  }
  return best;
}

template <Device D>
double measure_bandwidth(const comm::Communicator& world, Queue<D>& queue) {
  if constexpr (D == Device::cuda) {
    return comm::all_reduce_sum(world, measure_gpu_bandwidth(queue));
  } else {
    return measure_read_bandwidth(world, queue.threads());
  }
}

class BenchCommand : public Command {
 public:
  explicit BenchCommand(CLI::App& parent)
      : Command(parent, "bench", "Time one part, with what the hardware would allow beside it") {
    app_.add_option(
            "PART", part_,
            "decode: one token after another; prefill: one prompt; without MODEL: svd, random tiles; allreduce, "
            "sums over ranks")
        ->required()
        ->check(CLI::IsMember({"decode", "prefill", "svd", "allreduce"}));
    add_model_options(app_, model_, archive_);
    app_.get_option("MODEL")->required(false);
    app_.parse_complete_callback([this] {
      if (part_ != "svd" && part_ != "allreduce" && model_.empty()) throw CLI::RequiredError("MODEL");
    });
    app_.add_option("--tokens", tokens_, "Tokens decoded (64) or of the prompt (512)")->check(CLI::PositiveNumber);
    app_.add_option("--repeats", repeats_, "Timed runs, after one that is not counted")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    svd_.add_options(app_);
    allreduce_.add_options(app_);
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    if (part_ == "svd") return svd_.run(session, repeats_);
    if (part_ == "allreduce") return allreduce_.run(session, repeats_);
    return with_device(session, [&]<Device D>() { return run_on<D>(session); });
  }

 private:
  template <Device D>
  nlohmann::json run_on(Session& session) {
    const ModelFiles files(model_, archive_);
    Queue<D> queue(session.threads());
    const DType type = common_.chosen_dtype(files.checkpoint().exact_type());
    model::Llama<D> llama(files.source(type), session.world(), queue);
    const bool decode = part_ == "decode";
    const index_t tokens = tokens_ > 0 ? tokens_ : (decode ? 64 : 512);
    std::vector<double> seconds;
    for (int r = -1; r < repeats_; ++r) {
      session.world().barrier();
      const double once = decode ? time_decode(llama, tokens) : time_prefill(llama, tokens);
      if (r >= 0) seconds.push_back(comm::all_reduce_max(session.world(), once));
    }
    const double bandwidth = decode ? measure_bandwidth(session.world(), queue) : 0;
    const double bytes = comm::all_reduce_sum(session.world(), static_cast<double>(llama.bytes_per_token()));
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    const double rate = static_cast<double>(tokens) / median;
    nlohmann::json row = {{"part", part_},
                          {"tokens", tokens},
                          {"type", to_string(type)},
                          {"threads", session.threads()},
                          {"ranks", session.world().size()},
                          {"seconds", median},
                          {"seconds_min", seconds.front()},
                          {"seconds_max", seconds.back()},
                          {"tokens_per_second", rate}};
    if (decode) {
      row["gigabytes_per_second"] = bytes * rate * 1e-9;
      row["limit"] = bandwidth / bytes;
    }
    if (session.world().is_root()) print(row);
    return {{"rows", {row}}, {"tokens_per_second", rate}};
  }

  /// A 16-token prompt, then `tokens` single ones; spread ids, as real text would touch spread embedding rows.
  template <Device D>
  double time_decode(model::Llama<D>& llama, index_t tokens) {
    constexpr index_t prompt = 16;
    model::KvCache<D> cache = llama.make_cache(prompt + tokens);
    llama.forward(spread_ids(llama, prompt), cache);
    const std::vector<int> ids = spread_ids(llama, tokens);
    const Clock::time_point start = Clock::now();
    for (index_t t = 0; t < tokens; ++t) llama.logits(llama.forward(std::span(ids).subspan(t, 1), cache));
    return seconds_since(start);
  }

  template <Device D>
  double time_prefill(model::Llama<D>& llama, index_t tokens) {
    model::KvCache<D> cache = llama.make_cache(tokens);
    const std::vector<int> ids = spread_ids(llama, tokens);
    const Clock::time_point start = Clock::now();
    const MatrixView<const float, D> states = llama.forward(ids, cache);
    llama.logits(states.rows_from(tokens - 1, 1));
    return seconds_since(start);
  }

  template <Device D>
  static std::vector<int> spread_ids(const model::Llama<D>& llama, index_t n) {
    std::vector<int> ids(n);
    for (index_t i = 0; i < n; ++i) ids[i] = static_cast<int>(i * 7919 % llama.config().vocab_size);
    return ids;
  }

  static void print(const nlohmann::json& row) {
    fmt::print("{}: {:.1f} tokens/s (median of runs between {:.3f} and {:.3f} s)", row["part"].get<std::string>(),
               row["tokens_per_second"].get<double>(), row["seconds_min"].get<double>(),
               row["seconds_max"].get<double>());
    if (row.contains("limit")) {
      fmt::print(", {:.1f} GB/s of weights; memory would allow {:.1f} tokens/s",
                 row["gigabytes_per_second"].get<double>(), row["limit"].get<double>());
    }
    fmt::print("\n");
  }

  std::string part_, model_, archive_;
  SvdBench svd_;
  AllreduceBench allreduce_;
  long tokens_ = 0;
  int repeats_ = 5;
};

}  // namespace

std::unique_ptr<Command> make_bench(CLI::App& app) { return std::make_unique<BenchCommand>(app); }

}  // namespace hack::jobs
