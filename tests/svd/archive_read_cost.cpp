// What it costs to check an archive while it is read. `archive_read_cost ARCHIVE… [--repeats N]` loads all matrices as
// inference does, in turn with all checks and with none, and makes every check once more by itself: the seal, the
// digest of each term, its numbers. Processor time of one thread, medians. No test: figures of a machine.
//
// The linker sends calls of the three checks here (CMakeLists.txt). A load without checks is given what the load before
// it found, in the same order.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "comm/environment.hpp"
#include "io/digest.hpp"
#include "kernels/error.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/factored_matrix.hpp"

#define HACK_DIGEST "_ZN4hack2io8digest64ESt4spanIKSt4byteLm18446744073709551615EE"
#define HACK_CHECK_TERM "_ZN4hack3svd10check_termERKNS0_4TileERKNS0_10StoredTermE"
#define HACK_CHECK_SEAL "_ZN4hack3svd10check_sealERKNSt10filesystem7__cxx114pathE"

namespace hack::svd {

/// What the checks of a load found, for the load without them that follows.
struct Found {
  bool is_checking = true;
  std::vector<FileRange> ranges;
  std::vector<std::uint64_t> digests;
  std::size_t next = 0, terms = 0;
} found;

std::uint64_t real_digest(std::span<const std::byte> bytes) asm("__real_" HACK_DIGEST);
void real_check_term(const Tile& at, const StoredTerm& term) asm("__real_" HACK_CHECK_TERM);
std::vector<FileRange> real_check_seal(const std::filesystem::path& path) asm("__real_" HACK_CHECK_SEAL);

std::uint64_t wrapped_digest(std::span<const std::byte> bytes) asm("__wrap_" HACK_DIGEST);
std::uint64_t wrapped_digest(std::span<const std::byte> bytes) {
  if (!found.is_checking) return found.digests[found.next++];
  return found.digests.emplace_back(real_digest(bytes));
}

void wrapped_check_term(const Tile& at, const StoredTerm& term) asm("__wrap_" HACK_CHECK_TERM);
void wrapped_check_term(const Tile& at, const StoredTerm& term) {
  if (!found.is_checking) return;
  ++found.terms;
  real_check_term(at, term);
}

std::vector<FileRange> wrapped_check_seal(const std::filesystem::path& path) asm("__wrap_" HACK_CHECK_SEAL);
std::vector<FileRange> wrapped_check_seal(const std::filesystem::path& path) {
  if (found.is_checking) found.ranges = real_check_seal(path);
  return found.ranges;
}

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
  double checked = 0, unchecked = 0;  ///< loads
  double more = 0;                    ///< checked / unchecked - 1, of two loads that followed each other
  double seal = 0, digests = 0, numbers = 0;
};

void load(const std::string& path) {
  const FactorArchive archive(path);
  for (const std::string& name : archive.matrices()) {
    const TileGrid& grid = archive.matrix(name).grid;
    const FactoredMatrix<Device::cpu> held(archive, name, {0, grid.rows()}, {0, grid.cols()}, std::nullopt);
  }
}

Cost cost_of(const std::string& path) {
  Cost cost;
  found = {};
  cost.checked = seconds_of([&] { load(path); });
  HACK_EXPECT(found.terms > 0 && found.terms == found.digests.size() && !found.ranges.empty());  // all are met here
  found.is_checking = false;
  cost.unchecked = seconds_of([&] { load(path); });
  HACK_EXPECT(found.next == found.digests.size());
  cost.more = cost.checked / cost.unchecked - 1;
  found = {};
  cost.seal = seconds_of([&] { real_check_seal(path); });
  const FactorArchive archive(path);
  std::uint64_t sum = 0;  // so that no digest is left out
  for (const std::string& name : archive.matrices()) {
    const TileGrid& grid = archive.matrix(name).grid;
    // As they are read: the row of tiles is in the cache as it is then.
    for (index_t i = 0; i < grid.tile_rows(); ++i) {
      const std::vector<StoredTile> tiles = archive.read_tiles(name, i, 0, grid.tile_cols());
      const auto for_each_term = [&](auto check) {
        for (const StoredTile& tile : tiles) std::for_each(tile.terms.begin(), tile.terms.end(), check);
      };
      cost.digests += seconds_of([&] { for_each_term([&](const StoredTerm& t) { sum += real_digest(t.bytes); }); });
      cost.numbers += seconds_of([&] {
        for_each_term([&](const StoredTerm& t) { real_check_term({0, 0, 0, 0, t.height, t.width}, t); });
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
  fmt::print(
      "{}: {:.4f} s with checks, {:.4f} s without: {:.2f} % more (by themselves: seal {:.4f}, digests {:.4f}, numbers "
      "{:.4f} s)\n",
      path, median(costs, &Cost::checked), median(costs, &Cost::unchecked), 100 * median(costs, &Cost::more),
      median(costs, &Cost::seal), median(costs, &Cost::digests), median(costs, &Cost::numbers));
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
