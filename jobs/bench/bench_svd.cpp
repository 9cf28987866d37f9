#include "jobs/bench/bench_svd.hpp"

#include <algorithm>

#include <cblas.h>
#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "jobs/bench/bench_timing.hpp"
#include "jobs/bench/random_tiles.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/batched_algebra.hpp"

extern "C" char* openblas_get_corename(void);

namespace hack::jobs {
namespace {

struct Figures {
  double median, min, max;
};

Figures figures_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

/// Floating-point operations of the Gram matrix, of its tridiagonal form, and of k vectors of both sides.
double flops_of(double n, double k) { return n * n * n + 4.0 / 3 * n * n * n + 4 * n * n * k; }

/// Operations a second of products in double on all ranks: what factorizing is bound by.
template <Device D>
double measure_double_rate(const comm::Communicator& world, Queue<D>& queue) {
  const index_t n = D == Device::cuda ? 1024 : 256;
  const index_t count = D == Device::cuda ? 16 : 8 * queue.threads();
  Buffer<double> numbers(n * n);
  std::fill_n(numbers.data(), numbers.size(), 0.5);
  const Buffer<double, D> a = to_device<D>(numbers.data(), numbers.size());
  Buffer<double, D> c(count * n * n);
  std::vector<kernels::Product<D>> products;
  for (index_t p = 0; p < count; ++p) {
    products.push_back({{a.data(), n, n}, {a.data(), n, n}, {c.data() + p * n * n, n, n}});
  }
  std::vector<double> rates;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double seconds = time_together(world, [&] {
      kernels::multiply<D>(queue, 1, kernels::Transpose::no, kernels::Transpose::no, 0, products);
      queue.wait();
    });
    rates.push_back(2.0 * static_cast<double>(n * n * n * count * world.size()) / seconds);
  }
  return figures_of(rates).max;
}

SvdErrors worst_of_ranks(const comm::Communicator& world, SvdErrors errors) {
  for (double* error : {&errors.spectrum, &errors.orthogonality, &errors.excess, &errors.energy}) {
    *error = comm::all_reduce_max(world, *error);
  }
  return errors;
}

/// The worst of all tiles, which passes.
template <Device D>
SvdErrors check(const comm::Communicator& world, Queue<D>& queue, const RandomTiles<D>& tiles, const SvdCase& of) {
  const SvdErrors errors = worst_of_ranks(world, tiles.check(queue));
  validate(errors.within_gates(),
           "tiles of {} with {} vectors are wrong (sigma {:.1e}, orthogonality {:.1e}, excess {:.1e}, energy {:.1e}); "
           "report it",
           of.size, of.vectors, errors.spectrum, errors.orthogonality, errors.excess, errors.energy);
  return errors;
}

template <Device D>
constexpr const char* library_name = D == Device::cuda ? "xsyevbatched" : "sgesdd";

nlohmann::json row_of(const comm::Communicator& world, int threads, const SvdCase& of, const char* path,
                      const std::vector<double>& rates, const SvdErrors& errors) {
  const Figures figures = figures_of(rates);
  const double flops = flops_of(static_cast<double>(of.size), static_cast<double>(of.vectors));
  const auto numbers = static_cast<double>(of.size * of.size + of.size + 2 * of.size * of.vectors);
  return {{"part", "svd"},
          {"path", path},
          {"tile", of.size},
          {"vectors", of.vectors},
          {"type", of.type},
          {"tiles", of.tiles},
          {"ranks", world.size()},
          {"threads", threads},
          {"tiles_per_second", figures.median},
          {"tiles_per_second_min", figures.min},
          {"tiles_per_second_max", figures.max},
          {"gigabytes_per_second", 4 * numbers * figures.median * 1e-9},  // in f32, in and out
          {"gigaflops", flops * figures.median * 1e-9},
          {"limit", of.product_rate / flops},
          {"sigma_error", errors.spectrum},
          {"orthogonality_error", errors.orthogonality},
          {"excess_error", errors.excess},
          {"energy_error", errors.energy}};
}

void print(const nlohmann::json& row, double library, double ratio) {
  fmt::print("{:>12} {:>5} {:>8} {:>5} {:>9.0f} {:>9.0f} {:>9.0f} {:>7.2f} {:>8.1f} {:>9.0f} {:>9.0f} {:>6.2f}\n",
             row["path"].get<std::string>(), row["tile"].get<index_t>(), row["vectors"].get<index_t>(),
             row["type"].get<std::string>(), row["tiles_per_second"].get<double>(),
             row["tiles_per_second_min"].get<double>(), row["tiles_per_second_max"].get<double>(),
             row["gigabytes_per_second"].get<double>(), row["gigaflops"].get<double>(), row["limit"].get<double>(),
             library, ratio);
}

}  // namespace

template <Device D>
nlohmann::json time_svd(const comm::Communicator& world, Queue<D>& queue, const SvdCase& of) {
  RandomTiles<D> tiles(svd::even_part(of.tiles, world.size(), world.rank()), of.size, of.vectors, of.type == "bf16");
  std::vector<double> rates, library_rates, ratios;
  const auto count = static_cast<double>(of.tiles);
  for (int r = -1; r < of.repeats; ++r) {  // the first is not counted
    const double library = count / time_together(world, [&] { tiles.factorize_by_library(queue); });
    const double rate = count / time_together(world, [&] { tiles.factorize(queue); });
    if (r < 0) continue;
    rates.push_back(rate);
    library_rates.push_back(library);
    ratios.push_back(rate / library);
  }
  const double library = figures_of(library_rates).median, ratio = figures_of(ratios).median;
  nlohmann::json rows = nlohmann::json::array();
  rows.push_back(row_of(world, queue.threads(), of, "tile_svd", rates, check(world, queue, tiles, of)));
  rows.back()[std::string(library_name<D>) + "_tiles_per_second"] = library;
  rows.back()["ratio"] = ratio;
  if (world.is_root()) print(rows.back(), library, ratio);
  if constexpr (D == Device::cuda) {
    tiles.factorize_by_library(queue);
    rows.push_back(row_of(world, queue.threads(), of, library_name<D>, library_rates, check(world, queue, tiles, of)));
    if (world.is_root()) print(rows.back(), library, 1);
  }
  return rows;
}

template nlohmann::json time_svd(const comm::Communicator&, Queue<Device::cpu>&, const SvdCase&);
template nlohmann::json time_svd(const comm::Communicator&, Queue<Device::cuda>&, const SvdCase&);

void SvdBench::add_options(CLI::App& app) {
  const std::string group = "svd";
  app.add_option("--tile", sizes_, "Sizes of square tiles (128)")->delimiter(',')->check(whole(1, 4096))->group(group);
  app.add_option("--vectors", vectors_,
                 "Numbers of singular vectors; numbers above the tile's size are left out "
                 "(0,32,64,128)")
      ->delimiter(',')
      ->check(whole(0, 4096))
      ->group(group);
  app.add_option("--type", type_, "Numbers of the tiles: normal ones in f32, or rounded to bf16")
      ->check(one_of({"f32", "bf16"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--tiles", tiles_, "Tiles of a batch, shared out over ranks (256; on GPUs 4096)")
      ->check(whole(1, 1L << 20))
      ->group(group);
}

nlohmann::json SvdBench::run(Session& session, int repeats) const {
  return with_device(session, [&]<Device D>() { return run_on<D>(session, repeats); });
}

template <Device D>
nlohmann::json SvdBench::run_on(const Session& session, int repeats) const {
  const comm::Communicator& world = session.world();
  openblas_set_num_threads(1);
  Queue<D> queue(session.threads());
  const double product_rate = measure_double_rate<D>(world, queue);
  if (world.is_root()) {
    fmt::print(
        "{} ranks of {} threads, BLAS core {}; tiles/s: median, least, most of {} runs; limit: its operations at "
        "the {:.1f} GFLOP/s of products in double\n",
        world.size(), session.threads(), openblas_get_corename(), repeats, product_rate * 1e-9);
    fmt::print("{:>12} {:>5} {:>8} {:>5} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9} {:>9} {:>6}\n", "path", "tile", "vectors",
               "type", "tiles/s", "least", "most", "GB/s", "GFLOP/s", "limit", "library", "ratio");
  }
  const index_t tiles = tiles_ > 0 ? tiles_ : (D == Device::cuda ? 4096 : 256);
  nlohmann::json rows = nlohmann::json::array();
  for (const long size : sizes_) {
    for (const long vectors : vectors_) {
      if (vectors > size) continue;
      for (nlohmann::json& row : time_svd<D>(world, queue, {size, vectors, tiles, type_, repeats, product_rate})) {
        row["device"] = to_string(D);
        row["blas_core"] = openblas_get_corename();
        rows.push_back(std::move(row));
      }
    }
  }
  validate(!rows.empty(), "--vectors: no number is within the size of a tile; use smaller ones");
  return {{"rows", std::move(rows)}};
}

}  // namespace hack::jobs
