#include "jobs/study/study_phases.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

#include "comm/collective_timer.hpp"
#include "comm/collectives.hpp"
#include "comm/process_grid.hpp"
#include "jobs/session/read_bandwidth.hpp"
#include "jobs/session/system_info.hpp"
#include "jobs/session/token_ids.hpp"
#include "jobs/study/decode_run.hpp"
#include "kernels/stopwatch.hpp"
#include "kernels/tile_svd.hpp"
#include "model/llama/chunk.hpp"
#include "model/llama/names.hpp"
#include "model/evaluate/perplexity.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::jobs {
namespace {

constexpr index_t tile_size = 128;

/// Ids of the whole vocabulary, or of the part whose embedding a lone slice has: states of other ids would be zeros.
template <class Llama>
std::vector<int> ids_for(const Llama& llama, index_t n, bool is_slice) {
  return spread_ids(n, is_slice ? llama.plan().vocabulary : svd::Range{0, llama.config().vocab_size});
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Where the tiles of the MLPs are.
struct TilePlace {
  std::string matrix;
  svd::Tile at;
};

std::vector<TilePlace> tiles_of(const model::LlamaConfig& config, index_t most) {
  std::vector<TilePlace> places;
  for (index_t layer = 0; layer < config.layers; ++layer) {
    for (const model::Linear linear : model::mlp_linears) {
      const model::LayerTensor& tensor = tensor_of(linear);
      const svd::TileGrid grid(size_of(tensor.rows, config), size_of(tensor.cols, config), tile_size, tile_size);
      for (index_t t = 0; t < grid.size(); ++t) {
        if (std::ssize(places) == most) return places;
        places.push_back({model::weight_name(layer, linear), grid.tile(t)});
      }
    }
  }
  return places;
}

/// A batch of tiles and their factors.
template <Device D>
struct Batch {
  explicit Batch(index_t most)
      : read(most * tile_size * tile_size),
        values(most * tile_size * tile_size),
        u(most * tile_size * tile_size),
        sigma(most * tile_size),
        vt(most * tile_size * tile_size) {}

  Buffer<float> read;       // (most, h, w)
  Buffer<float, D> values;  // (most, h, w)
  Buffer<float, D> u;       // (most, h, r)
  Buffer<float, D> sigma;   // (most, r)
  Buffer<float, D> vt;      // (most, r, w)
};

}  // namespace

StudySlice StudySlice::parse(const std::string& text) {
  const std::size_t line = text.find('/');
  const auto number = [](std::string_view digits) {
    int value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? value : -1;
  };
  if (line != std::string::npos) {
    const std::string_view first = std::string_view(text).substr(0, line);
    const int parts = number(std::string_view(text).substr(line + 1));
    if (first == "all" && parts > 0) return {every, parts};
    if (const int part = number(first); part >= 0 && part < parts) return {part, parts};
  }
  fail("--slice {}: is no share of a job (p/P with p below P, or all/P)", text);
}

std::string StudySlice::text() const {
  return part == every ? fmt::format("all/{}", parts) : fmt::format("{}/{}", part, parts);
}

struct StudyPhases::Timing {
  std::vector<double> seconds;            ///< of the slowest rank, each run
  double compute = 0, communication = 0;  ///< of this rank, in the run that was split
  double wait = 0, input = 0;
  double peak_memory = 0;
  std::optional<double> joules;  ///< of all ranks, in one run
  std::optional<bool> replayed;  ///< of decoding: whether steps were launched as graphs
};

StudyPhases::StudyPhases(const Session& session, const ModelFiles& files, model::HeldType type,
                         const comm::Communicator& group, const StudyWork& work, std::optional<StudySlice> slice)
    : session_(session),
      files_(files),
      type_(type),
      group_(group),
      work_(work),
      slice_(slice),
      cores_(cores_together(group)),
      energy_(group, meter_, session.gpu_address()) {
  const comm::Communicator node = group.split_by_node();
  nodes_ = static_cast<int>(comm::all_reduce_sum(group, node.is_root() ? 1.0 : 0.0));
}

template <class Work, class Steps>
StudyPhases::Timing StudyPhases::time(const Work& work, const Steps& steps) {
  Timing timing;
  for (int r = -1; r <= work_.repeats; ++r) {
    const bool is_split = r == work_.repeats;  // barriers in front of collectives cost time: that run is not counted
    group_.barrier();
    input_seconds_ = 0;
    if (is_split) comm::CollectiveTimer::start();
    if (r == 0) energy_.start();
    const Stopwatch watch;
    if (is_split) {
      steps();
    } else {
      work();
    }
    const double own = watch.seconds();
    const comm::CollectiveTimer::Times times =
        is_split ? comm::CollectiveTimer::stop() : comm::CollectiveTimer::Times{};
    const double slowest = comm::all_reduce_max(group_, own);
    if (r >= 0 && !is_split) timing.seconds.push_back(slowest);
    if (r == work_.repeats - 1) timing.joules = energy_.stop();
    if (!is_split) continue;
    timing.communication = times.exchange;
    timing.input = input_seconds_;
    timing.compute = own - times.wait - times.exchange - input_seconds_;
    timing.wait = times.wait + slowest - own;
  }
  if (timing.joules) *timing.joules /= work_.repeats;
  timing.peak_memory = peak_memory_bytes();
  return timing;
}

template <class Work>
StudyPhases::Timing StudyPhases::time(const Work& work) {
  return time(work, work);
}

nlohmann::json StudyPhases::row(const char* phase, const char* unit, double work, const Timing& timing) const {
  double sums[] = {timing.compute, timing.communication, timing.wait, timing.input};
  comm::all_reduce_sum(group_, std::span<double>(sums));
  const double most = comm::all_reduce_max(group_, timing.compute);
  const double memory = comm::all_reduce_max(group_, timing.peak_memory);
  const double seconds = median_of(timing.seconds);
  const int ranks = group_.size();
  nlohmann::json row = {{"kind", "measured"},
                        {"phase", phase},
                        {"ranks", ranks},
                        {"nodes", nodes_},
                        {"threads", session_.threads()},
                        {"unit", unit},
                        {"work", work},
                        {"repeats", work_.repeats},
                        {"seconds", seconds},
                        {"seconds_min", *std::min_element(timing.seconds.begin(), timing.seconds.end())},
                        {"seconds_max", *std::max_element(timing.seconds.begin(), timing.seconds.end())},
                        {"rate", work / seconds},
                        {"compute_seconds", sums[0] / ranks},
                        {"communication_seconds", sums[1] / ranks},
                        {"wait_seconds", sums[2] / ranks},
                        {"input_seconds", sums[3] / ranks},
                        {"imbalance", sums[0] > 0 ? most * ranks / sums[0] : 1.0},
                        {"peak_memory_bytes", memory}};
  if (session_.device() == Device::cpu) row["cores"] = cores_;
  if (timing.replayed) row["replayed"] = *timing.replayed;
  if (timing.joules) row["joules"] = *timing.joules;
  if (timing.joules && unit == std::string_view("tokens")) row["joules_per_token"] = *timing.joules / work;
  if (slice_) {
    row["phase"] = std::string(phase) + " slice";
    row["slice"] = slice_->text();
    row["ranks"] = slice_->parts;
    row["collectives"] = "left out";
  }
  return row;
}

nlohmann::json StudyPhases::factorization() {
  return with_device(session_.device(), [&]<Device D>() { return factorization_on<D>(); });
}

template <Device D>
nlohmann::json StudyPhases::factorization_on() {
  forget_peak_memory();
  const model::LlamaConfig& config = files_.checkpoint().config();
  const index_t wanted = work_.weak ? work_.tiles * group_.size() : work_.tiles;
  const std::vector<TilePlace> places = tiles_of(config, work_.weak ? work_.tiles : wanted);
  // Weak: every rank has the same tiles, so that a model of any size has enough.
  const svd::Range mine =
      work_.weak ? svd::Range{0, std::ssize(places)} : svd::even_part(std::ssize(places), group_.size(), group_.rank());
  constexpr index_t batch_tiles = 256;
  Queue<D> queue(session_.threads(), session_.products());
  Batch<D> batch(std::min(batch_tiles, std::max<index_t>(1, mine.size())));
  const Timing timing = time([&] {
    for (index_t first = mine.begin; first < mine.end; first += batch_tiles) {
      std::vector<MatrixView<const float, D>> in;
      std::vector<kernels::TileSvd<D>> out;
      const Stopwatch watch;
      for (index_t t = first; t < std::min(first + batch_tiles, mine.end); ++t) {
        const TilePlace& place = places[static_cast<std::size_t>(t)];
        const index_t at = (t - first) * tile_size * tile_size;
        const index_t h = place.at.height, w = place.at.width, r = place.at.full_rank();
        files_.checkpoint().read(place.matrix, place.at.row, place.at.col, {batch.read.data() + at, h, w});
        in.emplace_back(batch.values.data() + at, h, w);
        out.push_back({{batch.u.data() + at, h, r},
                       batch.sigma.data() + (t - first) * tile_size,
                       {batch.vt.data() + at, r, w},
                       kernels::SvdStatus::ok});
      }
      kernels::copy_from_host<D>(batch.values.data(), batch.read.data(),
                                 in.size() * tile_size * tile_size * sizeof(float));
      input_seconds_ += watch.seconds();
      kernels::tile_svd<D>(queue, in, out);
      queue.wait();
    }
  });
  return row("factorization", "tiles", static_cast<double>(std::ssize(places) * (work_.weak ? group_.size() : 1)),
             timing);
}

template <class Work>
nlohmann::json StudyPhases::on_model(const char* phase, double tokens, const Work& work) {
  return with_device(session_.device(), [&]<Device D>() {
    forget_peak_memory();
    Queue<D> queue(session_.threads(), session_.products());
    const comm::Communicator self = comm::Communicator::self();
    const comm::Communicator& tensor = work_.weak || slice_ ? self : group_;
    model::Slice share{tensor.rank(), tensor.size()};
    if (slice_) share = {slice_->part == StudySlice::every ? group_.rank() : slice_->part, slice_->parts};
    model::Llama<D> llama(files_.source(type_), tensor, queue, share);
    const Timing timing = work(llama);
    nlohmann::json result = row(phase, "tokens", tokens * (work_.weak ? group_.size() : 1), timing);
    result["weight_bytes"] = llama.bytes_held();
    return result;
  });
}

nlohmann::json StudyPhases::prefill() {
  return on_model("prefill", static_cast<double>(work_.prompt), [&](auto& llama) {
    const std::vector<int> ids = ids_for(llama, work_.prompt, slice_.has_value());
    return time([&] {
      auto cache = llama.make_cache(work_.prompt);
      for (index_t begin = 0; begin < work_.prompt; begin += model::chunk_tokens) {
        const index_t n = std::min(model::chunk_tokens, work_.prompt - begin);
        const auto states = llama.forward(std::span(ids).subspan(begin, n), cache);
        if (begin + n == work_.prompt) llama.logits(states.rows_from(n - 1, 1));
      }
    });
  });
}

nlohmann::json StudyPhases::decode() {
  return on_model("decode", static_cast<double>(work_.tokens), [&]<Device D>(model::Llama<D>& llama) {
    DecodeRun<D> decoding(llama, ids_for(llama, work_.tokens, slice_.has_value()));
    Timing timing = time([&] { decoding.run(); }, [&] { decoding.run_in_steps(); });
    timing.replayed = decoding.is_replayed();
    return timing;
  });
}

nlohmann::json StudyPhases::perplexity() {
  const index_t windows = work_.windows * (work_.weak ? group_.size() : 1);
  const std::vector<int> ids = spread_ids(windows * work_.context, {0, files_.checkpoint().config().vocab_size});
  const model::WindowPlan plan =
      model::plan_windows(model::find_protocol("2048"), std::ssize(ids), work_.context, std::nullopt, std::nullopt);
  return with_device(session_.device(), [&]<Device D>() {
    forget_peak_memory();
    // As many copies as fit; a group smaller than a copy's ranks shares one.
    const comm::ProcessGrid grid(group_, std::min(work_.tensor_parallel, group_.size()));
    Queue<D> queue(session_.threads(), session_.products());
    model::Llama<D> llama(files_.source(type_), grid.tensor(), queue);
    const Timing timing = time([&] { model::window_losses(llama, grid, ids, plan); });
    nlohmann::json result = row("perplexity", "tokens", static_cast<double>(std::ssize(ids)), timing);
    result["tensor_parallel"] = grid.tensor().size();
    result["weight_bytes"] = llama.bytes_held();
    return result;
  });
}

nlohmann::json StudyPhases::read() {
  const double bandwidth = measure_read_bandwidth(group_, session_.threads());
  return {{"kind", "measured"}, {"phase", "read"},   {"ranks", group_.size()},       {"nodes", nodes_},
          {"unit", "bytes"},    {"rate", bandwidth}, {"threads", session_.threads()}};
}

std::vector<nlohmann::json> StudyPhases::all_reduce() {
  std::vector<nlohmann::json> rows;
  if (group_.size() == 1) return rows;
  const index_t state = files_.checkpoint().config().hidden_size;
  for (const index_t numbers : {state, 16 * state, 128 * state, 512 * state}) {
    Buffer<float> x(numbers);
    std::fill_n(x.data(), numbers, 0.0f);
    // One after the other, as in a model: with a barrier before each all ranks would come at once, and over a network
    // that is another time.
    constexpr int batches = 5;
    const index_t calls = std::max<index_t>(2, std::min<index_t>(40, (index_t{1} << 21) / numbers));
    std::vector<double> seconds;  // of a call
    for (int batch = -1; batch < batches; ++batch) {
      group_.barrier();
      const Stopwatch watch;
      for (index_t i = 0; i < calls; ++i) {
        comm::all_reduce_sum(group_, std::span(x.data(), static_cast<std::size_t>(numbers)));
      }
      const double slowest = comm::all_reduce_max(group_, watch.seconds());
      if (batch >= 0) seconds.push_back(slowest / static_cast<double>(calls));
    }
    const auto bytes = static_cast<double>(4 * numbers);
    const double median = median_of(seconds);
    rows.push_back({{"kind", "measured"},
                    {"phase", "allreduce"},
                    {"ranks", group_.size()},
                    {"nodes", nodes_},
                    {"threads", session_.threads()},
                    {"unit", "bytes"},
                    {"work", bytes},
                    {"repeats", batches * calls},
                    {"seconds", median},
                    {"seconds_min", *std::min_element(seconds.begin(), seconds.end())},
                    {"seconds_max", *std::max_element(seconds.begin(), seconds.end())},
                    {"rate", bytes / median}});
  }
  return rows;
}

}  // namespace hack::jobs
