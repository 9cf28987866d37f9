// What it costs to check an archive while it is read. `archive_read_cost ARCHIVE… [--repeats N]` loads all matrices as
// inference does, then makes every check once more by itself: the seal, the digest of each term, its numbers. Processor
// time of one thread, medians. No test: figures of a machine.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "comm/environment.hpp"
#include "io/digest.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/factored_matrix.hpp"

namespace hack::svd {
namespace {

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class F>
double seconds_of(F work) {
  const double start = processor_seconds();
  work();
  return processor_seconds() - start;
}

struct Cost {
  double reading = 0;  ///< with all checks
  double seal = 0, digests = 0, numbers = 0;
};

Cost cost_of(const std::string& path) {
  Cost cost;
  cost.reading = seconds_of([&] {
    const FactorArchive archive(path);
    for (const std::string& name : archive.matrices()) {
      const TileGrid& grid = archive.matrix(name).grid;
      const FactoredMatrix<Device::cpu> held(archive, name, {0, grid.rows()}, {0, grid.cols()}, std::nullopt);
    }
  });
  cost.seal = seconds_of([&] { check_seal(path); });
  const FactorArchive archive(path);
  std::uint64_t sum = 0;  // so that no digest is left out
  for (const std::string& name : archive.matrices()) {
    const TileGrid& grid = archive.matrix(name).grid;
    // As they are read: the row of tiles is in the cache as it is then.
    for (index_t i = 0; i < grid.tile_rows(); ++i) {
      const std::vector<StoredTile> tiles = archive.read_tiles(name, i, 0, grid.tile_cols());
      cost.digests += seconds_of([&] {
        for (const StoredTile& tile : tiles) {
          for (const StoredTerm& term : tile.terms) sum += io::digest64(term.bytes);
        }
      });
      cost.numbers += seconds_of([&] {
        for (const StoredTile& tile : tiles) {
          for (const StoredTerm& term : tile.terms) check_term({0, 0, 0, 0, term.height, term.width}, term);
        }
      });
    }
  }
  if (sum == 1) std::puts("");
  return cost;
}

double median(std::vector<Cost> costs, double Cost::*field) {
  std::nth_element(costs.begin(), costs.begin() + std::ssize(costs) / 2, costs.end(),
                   [&](const Cost& a, const Cost& b) { return a.*field < b.*field; });
  return costs[costs.size() / 2].*field;
}

void report(const std::string& path, int repeats) {
  std::vector<Cost> costs;
  cost_of(path);  // the file comes from the disk once
  for (int r = 0; r < repeats; ++r) costs.push_back(cost_of(path));
  const double reading = median(costs, &Cost::reading), seal = median(costs, &Cost::seal),
               digests = median(costs, &Cost::digests), numbers = median(costs, &Cost::numbers);
  const double checks = seal + digests + numbers;
  fmt::print(
      "{}: reading {:.4f} s, of which seal {:.4f}, digests {:.4f}, numbers {:.4f}: {:.2f} % more than unchecked\n",
      path, reading, seal, digests, numbers, 100 * checks / (reading - checks));
}

}  // namespace
}  // namespace hack::svd

int main(int argc, char** argv) {
  const hack::comm::Environment environment(argc, argv);
  int repeats = 9;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--repeats" && i + 1 < argc) {
      repeats = std::stoi(argv[++i]);
    } else {
      hack::svd::report(argv[i], repeats);
    }
  }
}
