#include "jobs/bench/bench_svd.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include <cblas.h>
#include <lapacke.h>
#include <omp.h>

#include "comm/collectives.hpp"
#include "jobs/bench/bench_timing.hpp"
#include "jobs/bench/svd_check.hpp"
#include "kernels/buffer.hpp"
#include "svd/range.hpp"

extern "C" char* openblas_get_corename(void);

namespace hack::jobs {
namespace {

using kernels::TileSvd;

struct Figures {
  double median, min, max;
};

Figures figures_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

/// This rank's share of a batch of random square tiles with standard normal numbers, the same for any number of ranks,
/// and room for their factors.
class RandomTiles {
 public:
  RandomTiles(const svd::Range& range, index_t size, index_t vectors, bool as_bf16)
      : size_(size),
        vectors_(vectors),
        count_(range.size()),
        values_(count_ * size * size),
        u_(count_ * size * vectors),
        sigma_(count_ * size),
        vt_(count_ * vectors * size) {
    for (index_t t = 0; t < count_; ++t) {
      std::mt19937 engine(static_cast<unsigned>(range.begin + t));
      std::normal_distribution<float> normal;
      float* to = values_.data() + t * size * size;
      for (index_t i = 0; i < size * size; ++i) {
        const float x = normal(engine);
        to[i] = as_bf16 ? to_float(to_bf16(x)) : x;
      }
      in_.emplace_back(to, size, size);
      out_.push_back({{u_.data() + t * size * vectors, size, vectors},
                      sigma_.data() + t * size,
                      {vt_.data() + t * vectors * size, vectors, size},
                      kernels::SvdStatus::ok});
    }
  }

  void factorize(Queue<Device::cpu>& queue) { kernels::tile_svd<Device::cpu>(queue, in_, out_); }

  /// The library's call for one matrix, one tile per thread: all vectors, or none where none are asked for.
  void factorize_by_library(int threads) {
    const auto n = static_cast<lapack_int>(size_);
    const char job = vectors_ == 0 ? 'N' : 'S';
    float length = 0, none = 0;
    lapack_int integer = 0;
    LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, job, n, n, &none, n, &none, &none, n, &none, n, &length, -1, &integer);
    const auto work_size = static_cast<lapack_int>(length) + 1;
    const index_t area = size_ * size_;
#pragma omp parallel num_threads(threads)
    {
      Buffer<float> space(3 * area + size_ + work_size);
      Buffer<lapack_int> integers(8 * size_);
      float* a = space.data();
      float* work = a + 3 * area + size_;
#pragma omp for schedule(dynamic)
      for (index_t t = 0; t < count_; ++t) {
        std::copy_n(values_.data() + t * area, area, a);
        LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, job, n, n, a, n, a + 3 * area, a + area, n, a + 2 * area, n, work,
                            work_size, integers.data());
      }
    }
  }

  /// The worst of the tiles.
  SvdErrors check(int threads) const {
    SvdErrors worst;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (index_t t = 0; t < count_; ++t) {
      const auto number = static_cast<std::size_t>(t);
      SvdErrors errors = measure_errors(in_[number], out_[number]);
      if (out_[number].status != kernels::SvdStatus::ok) errors.spectrum = 1;
#pragma omp critical
      worst.take_larger(errors);
    }
    return worst;
  }

 private:
  index_t size_, vectors_, count_;
  Buffer<float> values_;                     // (count, size, size)
  Buffer<float> u_;                          // (count, size, vectors)
  Buffer<float> sigma_;                      // (count, size)
  Buffer<float> vt_;                         // (count, vectors, size)
  std::vector<MatrixView<const float>> in_;  // (count)
  std::vector<TileSvd<Device::cpu>> out_;    // (count)
};

/// Floating-point operations of the Gram matrix, of its tridiagonal form, and of k vectors of both sides.
double flops_of(double n, double k) { return n * n * n + 4.0 / 3 * n * n * n + 4 * n * n * k; }

/// Operations a second of products in double on all threads of all ranks: what factorizing is bound by.
double measure_product_rate(const comm::Communicator& world, int threads) {
  constexpr index_t n = 256;
  constexpr int products = 8;
  Buffer<double> numbers(3 * n * n * threads);
  std::fill_n(numbers.data(), numbers.size(), 0.5);
  std::vector<double> rates;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double seconds = time_together(world, [&] {
#pragma omp parallel num_threads(threads)
      {
        double* a = numbers.data() + 3 * n * n * omp_get_thread_num();
        for (int p = 0; p < products; ++p) {
          cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, a + n * n, n, 0, a + 2 * n * n, n);
        }
      }
    });
    rates.push_back(2.0 * n * n * n * products * threads * world.size() / seconds);
  }
  return figures_of(rates).max;
}

SvdErrors worst_of_ranks(const comm::Communicator& world, SvdErrors errors) {
  for (double* error : {&errors.spectrum, &errors.orthogonality, &errors.excess, &errors.energy}) {
    *error = comm::all_reduce_max(world, *error);
  }
  return errors;
}

void print(const nlohmann::json& row) {
  fmt::print("{:>5} {:>8} {:>5} {:>9.0f} {:>9.0f} {:>9.0f} {:>7.2f} {:>8.1f} {:>9.0f} {:>9.0f} {:>6.2f}\n",
             row["tile"].get<index_t>(), row["vectors"].get<index_t>(), row["type"].get<std::string>(),
             row["tiles_per_second"].get<double>(), row["tiles_per_second_min"].get<double>(),
             row["tiles_per_second_max"].get<double>(), row["gigabytes_per_second"].get<double>(),
             row["gigaflops"].get<double>(), row["limit"].get<double>(), row["sgesdd_tiles_per_second"].get<double>(),
             row["ratio"].get<double>());
}

}  // namespace

void SvdBench::add_options(CLI::App& app) {
  const std::string group = "svd";
  app.add_option("--tile", sizes_, "Sizes of square tiles (128)")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->group(group);
  app.add_option("--vectors", vectors_,
                 "Numbers of singular vectors; those above the tile's size are left out "
                 "(0,32,64,128)")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_option("--type", type_, "Numbers of the tiles: normal ones in f32, or rounded to bf16")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--tiles", tiles_, "Tiles of a batch, shared out over ranks")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(group);
}

nlohmann::json SvdBench::run(const Session& session, int repeats) const {
  validate(session.options().device != "cuda",
           "bench svd times the CPU; leave --device out, or time tiles on a GPU by tests/gpu/run.sh");
  const comm::Communicator& world = session.world();
  const int threads = session.threads();
  openblas_set_num_threads(1);
  Queue<Device::cpu> queue(threads);
  const double product_rate = measure_product_rate(world, threads);
  if (world.is_root()) {
    fmt::print(
        "{} ranks of {} threads, BLAS core {}; tiles/s: median, least, most of {} runs; limit: its operations at "
        "the {:.1f} GFLOP/s of dgemm\n",
        world.size(), threads, openblas_get_corename(), repeats, product_rate * 1e-9);
    fmt::print("{:>5} {:>8} {:>5} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9} {:>9} {:>6}\n", "tile", "vectors", "type",
               "tiles/s", "least", "most", "GB/s", "GFLOP/s", "limit", "sgesdd", "ratio");
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const long size : sizes_) {
    for (const long vectors : vectors_) {
      if (vectors > size) continue;
      RandomTiles tiles(svd::even_part(tiles_, world.size(), world.rank()), size, vectors, type_ == "bf16");
      std::vector<double> rates, library_rates, ratios;
      for (int r = -1; r < repeats; ++r) {  // the first is not counted
        const double count = static_cast<double>(tiles_);
        const double library = count / time_together(world, [&] { tiles.factorize_by_library(threads); });
        const double rate = count / time_together(world, [&] { tiles.factorize(queue); });
        if (r < 0) continue;
        rates.push_back(rate);
        library_rates.push_back(library);
        ratios.push_back(rate / library);
      }
      const SvdErrors errors = worst_of_ranks(world, tiles.check(threads));
      validate(
          errors.within_gates(),
          "tiles of {} with {} vectors are wrong (sigma {:.1e}, orthogonality {:.1e}, excess {:.1e}, energy {:.1e}); "
          "report it",
          size, vectors, errors.spectrum, errors.orthogonality, errors.excess, errors.energy);
      const Figures figures = figures_of(rates);
      const double flops = flops_of(static_cast<double>(size), static_cast<double>(vectors));
      const double bytes = 4.0 * static_cast<double>(size * size + size + 2 * size * vectors);  // in f32, in and out
      rows.push_back({{"part", "svd"},
                      {"tile", size},
                      {"vectors", vectors},
                      {"type", type_},
                      {"tiles", tiles_},
                      {"ranks", world.size()},
                      {"threads", threads},
                      {"blas_core", openblas_get_corename()},
                      {"tiles_per_second", figures.median},
                      {"tiles_per_second_min", figures.min},
                      {"tiles_per_second_max", figures.max},
                      {"gigabytes_per_second", bytes * figures.median * 1e-9},
                      {"gigaflops", flops * figures.median * 1e-9},
                      {"limit", product_rate / flops},
                      {"sgesdd_tiles_per_second", figures_of(library_rates).median},
                      {"ratio", figures_of(ratios).median},
                      {"sigma_error", errors.spectrum},
                      {"orthogonality_error", errors.orthogonality},
                      {"excess_error", errors.excess},
                      {"energy_error", errors.energy}});
      if (world.is_root()) print(rows.back());
    }
  }
  validate(!rows.empty(), "--vectors: no number is within the size of a tile; use smaller ones");
  return {{"rows", std::move(rows)}};
}

}  // namespace hack::jobs
