#include "jobs/bench/bench_apply.hpp"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "jobs/bench/bench_limits.hpp"
#include "jobs/bench/bench_timing.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/linear.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "model/llama/names.hpp"
#include "svd/factored_matrix.hpp"
#include "svd/tile/encode_rows.hpp"

namespace hack::jobs {
namespace {

constexpr const char* matrix_name = "W";

/// One way to hold the matrix.
struct Held {
  const char* kind;  // "dense", "factors" or "interpolative"
  Codec codec;
  index_t rank;  // of tiles; 0 of dense
  std::optional<WeightMatrix<Device::cpu>> dense;
  std::optional<svd::FactoredMatrix<Device::cpu>> factored;

  double bytes() const { return static_cast<double>(dense ? dense->bytes() : factored->bytes()); }
};

/// Operations a token: of an interpolative tile the h - k other rows of U and k of V.
double flops_of(const Held& held, index_t rows, index_t cols) {
  if (held.dense) return 2.0 * static_cast<double>(rows) * static_cast<double>(cols);
  const kernels::FactoredView<Device::cpu>& view = held.factored->planes().front();
  return 2.0 * static_cast<double>(view.u_offsets.back() + view.v_offsets.back());
}

/// The same row again and again, in a codec.
WeightMatrix<Device::cpu> coded_matrix(const std::vector<float>& row, index_t rows, Codec codec) {
  const index_t cols = std::ssize(row), codes = code_bytes(codec, cols), scales = scale_bytes(codec, cols);
  WeightMatrix<Device::cpu> matrix(rows, cols, codec);
  const std::vector<double> alike(row.size(), 1);
  svd::encode_rows(codec, {row.data(), 1, cols}, alike, matrix.data(), matrix.scales());
  for (index_t i = 1; i < rows; ++i) {
    std::copy_n(matrix.data(), codes, matrix.data() + i * codes);
    std::copy_n(matrix.scales(), scales, matrix.scales() + i * scales);
  }
  return matrix;
}

std::vector<Held> hold_all(index_t rows, index_t cols, const std::vector<long>& ranks, DType type, Codec codec) {
  std::vector<Held> all;
  WeightMatrix<Device::cpu> dense(rows, cols, type);
  std::vector<float> row(static_cast<std::size_t>(cols));
  for (index_t i = 0; i < rows; ++i) {
    for (index_t j = 0; j < cols; ++j) row[j] = static_cast<float>((i * 31 + j * 17) % 64 - 32) / 64;
    convert(row.data(), DType::f32, dense.data() + i * cols * size_of(type), type, cols);
  }
  all.push_back({"dense", codec_of(type), 0, std::move(dense), {}});
  for (const CodecSpec& spec : term_codec_specs) {
    if (spec.block > 0) all.push_back({"dense", spec.codec, 0, coded_matrix(row, rows, spec.codec), {}});
  }
  for (const long rank : ranks) {
    for (const svd::Structure storage : {kernels::Structure::low_rank, kernels::Structure::interpolative}) {
      RandomFactorSource source(rank, storage, codec);
      source.add(matrix_name, rows, cols);
      all.push_back({svd::storage_name(storage).data(), codec, rank, {}, {}});
      all.back().factored.emplace(source, matrix_name, svd::Range{0, rows}, svd::Range{0, cols}, type);
    }
  }
  return all;
}

/// Up to which rank a storage takes no longer than the dense product, by lines between the ranks timed; nothing where
/// none is faster.
std::optional<double> break_even(const std::vector<nlohmann::json>& rows, const char* kind, double dense) {
  std::optional<double> best;
  double rank_before = 0, seconds_before = 0;
  for (const nlohmann::json& row : rows) {
    if (row["kind"] != kind) continue;
    const double rank = row["rank"], seconds = row["seconds"];
    if (seconds <= dense) {
      best = rank;
    } else {
      if (best == rank_before && best)
        best = rank_before + (rank - rank_before) * (dense - seconds_before) / (seconds - seconds_before);
      break;
    }
    rank_before = rank;
    seconds_before = seconds;
  }
  return best;
}

void print(const nlohmann::json& row) {
  fmt::print("{:>5} {:>7} {:>8} {:>5} {:>11.1f} {:>7.1f} {:>8.1f} {:>6.2f} {:>7.2f}\n", row["codec"].get<std::string>(),
             row["tokens"].get<index_t>(), row["kind"].get<std::string>(), row["rank"].get<index_t>(),
             row["seconds"].get<double>() * 1e6, row["gigabytes_per_second"].get<double>(),
             row["gigaflops"].get<double>(), row["share_of_limit"].get<double>(), row["speedup"].get<double>());
}

/// What the machine would allow.
struct Limits {
  double bandwidth;     // bytes a second
  double product_rate;  // operations a second
};

/// All ways to hold the matrix, the dense one first, for one number of tokens; repeats go round over them, so that all
/// see the same machine.
std::vector<nlohmann::json> time_all(const Session& session, Queue<Device::cpu>& queue, const std::vector<Held>& all,
                                     index_t tokens, int repeats, const Limits& limits) {
  const WeightView<> shape = all.front().dense->view();
  Buffer<float> x(tokens * shape.cols), y(tokens * shape.rows);
  for (index_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 13 - 6) / 8;
  std::vector<std::vector<double>> seconds(all.size());
  for (int r = -1; r < repeats; ++r) {
    for (std::size_t c = 0; c < all.size(); ++c) {
      const MatrixView<const float> in(x.data(), tokens, shape.cols);
      const MatrixView<float> out(y.data(), tokens, shape.rows);
      const double once = time_together(session.world(), [&] {
        if (all[c].dense) {
          kernels::linear<Device::cpu>(queue, in, all[c].dense->view(), out);
        } else {
          kernels::factored_sum<Device::cpu>(queue, in, all[c].factored->planes(), out);
        }
      });
      if (r >= 0) seconds[c].push_back(once);
    }
  }
  const double dense = Times::of(seconds.front()).median;
  std::vector<nlohmann::json> rows;
  for (std::size_t c = 0; c < all.size(); ++c) {
    const double flops = flops_of(all[c], shape.rows, shape.cols) * static_cast<double>(tokens);
    const double bytes = all[c].bytes();
    nlohmann::json row = {{"part", "apply"},
                          {"kind", all[c].kind},
                          {"rank", all[c].rank},
                          {"tokens", tokens},
                          {"rows", shape.rows},
                          {"columns", shape.cols},
                          {"type", to_string(shape.codec)},
                          {"codec", to_string(all[c].codec)},
                          {"threads", queue.threads()},
                          {"bytes", bytes}};
    const Times times = Times::of(seconds[c]);
    times.add_to(row);
    const double limit = std::max(bytes / limits.bandwidth, flops / limits.product_rate);
    row["gigabytes_per_second"] = bytes / times.median * 1e-9;
    row["gigaflops"] = flops / times.median * 1e-9;
    row["limit"] = flops / limit * 1e-9;
    row["share_of_limit"] = limit / times.median;
    row["speedup"] = dense / times.median;
    row["speedup_by_bytes"] = all.front().bytes() / bytes;
    row["speedup_by_flops"] = flops_of(all.front(), shape.rows, shape.cols) * static_cast<double>(tokens) / flops;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

void ApplyBench::add_options(CLI::App& app) {
  const std::string group = "apply";
  app.add_option("--matrix", matrix_, "q, k, v, o, gate, up or down")->capture_default_str()->group(group);
  app.add_option("--ranks", ranks_, "Ranks of tiles of 128 (8,16,32,48,64,96)")
      ->delimiter(',')
      ->check(whole(1, 128))
      ->group(group);
  app.add_option("--batches", tokens_, "Numbers of tokens (1,512)")
      ->delimiter(',')
      ->check(whole(1, 1L << 24))
      ->group(group);
  app.add_option("--types", types_, "Types of weights (f32,bf16)")->delimiter(',')->group(group);
}

nlohmann::json ApplyBench::run(const Session& session, const model::LlamaConfig& config, Codec codec,
                               int repeats) const {
  validate(session.options().device != "cuda", "bench apply times the CPU; leave --device out");
  const std::optional<model::Linear> linear = model::find_linear(matrix_);
  validate(linear.has_value(), "--matrix {}: not one of q, k, v, o, gate, up, down", matrix_);
  const std::string tensor = model::weight_name(0, *linear);
  const std::vector<model::TensorSpec> specs = model::llama_tensors(config);
  const auto spec = std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == tensor; });
  HACK_EXPECT(spec != specs.end());
  Queue<Device::cpu> queue(session.threads(), session.products());
  const double bandwidth = measure_bandwidth<Device::cpu>(session.world(), queue) / session.world().size();
  std::vector<long> ranks = ranks_;
  std::sort(ranks.begin(), ranks.end());
  nlohmann::json rows = nlohmann::json::array(), wins = nlohmann::json::array();
  if (session.world().is_root()) {
    fmt::print("{} ({} × {}), {} threads, {:.1f} GB/s of reading; share: of what bytes or flops would allow\n", matrix_,
               spec->rows, spec->cols, queue.threads(), bandwidth * 1e-9);
    fmt::print("{:>5} {:>7} {:>8} {:>5} {:>11} {:>7} {:>8} {:>6} {:>7}\n", "codec", "tokens", "kind", "rank", "us",
               "GB/s", "GFLOP/s", "share", "speedup");
  }
  for (const std::string& type_name : types_) {
    const DType type = parse_dtype(type_name);
    const double rate = measure_product_rate<Device::cpu>(session.world(), queue, type) / session.world().size();
    const Codec held = has_scales(codec) ? codec : codec_of(type);
    const std::vector<Held> all = hold_all(spec->rows, spec->cols, ranks, type, held);
    for (const long tokens : tokens_) {
      const auto timed = time_all(session, queue, all, tokens, repeats, {bandwidth, rate});
      for (const nlohmann::json& row : timed) {
        if (session.world().is_root()) print(row);
        rows.push_back(row);
      }
      for (const char* kind : {"factors", "interpolative"}) {
        const std::optional<double> rank = break_even(timed, kind, timed.front()["seconds"]);
        wins.push_back({{"kind", kind}, {"type", type_name}, {"codec", to_string(held)}, {"tokens", tokens}});
        if (rank) wins.back()["faster_up_to_rank"] = *rank;
        if (!session.world().is_root()) continue;
        fmt::print("{} {} tokens, {} in {}: {}\n", type_name, tokens, kind, to_string(held),
                   rank ? fmt::format("faster than dense up to rank {:.0f}", *rank) : "never faster than dense");
      }
    }
  }
  return {{"rows", rows}, {"break_even", wins}, {"bandwidth", bandwidth}};
}

}  // namespace hack::jobs
