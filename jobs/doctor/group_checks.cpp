#include "jobs/doctor/group_checks.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "kernels/stopwatch.hpp"
#include "svd/archive/hdf5.hpp"
#include "svd/pipeline/collective_try.hpp"

namespace hack::jobs {
namespace {

namespace fs = std::filesystem;

/// A name in the working folder that nobody else uses: rank 0's random number.
fs::path scratch_file(const comm::Communicator& world, const char* ending) {
  std::string name;
  if (world.is_root()) name = fmt::format(".hack-doctor-{:08x}{}", std::random_device{}(), ending);
  comm::broadcast(world, name);
  return name;
}

void check_sums(const comm::Communicator& world, GroupFacts& facts) {
  constexpr int repeats = 21;
  std::vector<float> sums(4096);  // 16 KiB: two tokens of a model of 2,048 channels
  std::array<double, repeats> seconds{};
  const auto n = static_cast<float>(world.size());
  for (double& time : seconds) {
    std::fill(sums.begin(), sums.end(), static_cast<float>(world.rank() + 1));
    const Stopwatch watch;
    comm::all_reduce_sum(world, std::span<float>(sums));
    time = watch.seconds();
    const auto is_wrong = [&](float sum) { return sum != n * (n + 1) / 2; };
    facts.sums_are_right = facts.sums_are_right && std::none_of(sums.begin(), sums.end(), is_wrong);
  }
  std::nth_element(seconds.begin(), seconds.begin() + repeats / 2, seconds.end());
  facts.allreduce_seconds = world.size() > 1 ? comm::all_reduce_max(world, seconds[repeats / 2]) : 0;
  facts.sums_are_right = comm::all_reduce_sum(world, facts.sums_are_right ? 0.0 : 1.0) == 0;
}

void check_same_folder(const comm::Communicator& world, GroupFacts& facts) {
  const fs::path name = scratch_file(world, "");
  std::error_code error;
  double is_written = 1;
  if (world.is_root()) is_written = std::ofstream(name) << "hack doctor\n" ? 1 : 0;
  world.barrier();
  const double seen = comm::all_reduce_sum(world, fs::exists(name, error) ? 1.0 : 0.0);
  if (world.is_root()) fs::remove(name, error);
  // Where rank 0 may not write, the folder says nothing; that has a finding of its own.
  facts.sees_same_folder = comm::all_reduce_sum(world, is_written) < world.size() || seen == world.size();
}

/// Each rank writes its number into a file of all, as archives are written, and rank 0 reads what arrived.
void write_together(const comm::Communicator& world, const fs::path& path) {
  constexpr index_t each = 1024;
  const index_t all = each * world.size();
  const std::vector<std::int32_t> mine(each, world.rank());
  svd::collective_try(world, [&] {
    const svd::Hdf5Id file = svd::create_parallel_file(world, path);
    const svd::Hdf5Id data = svd::create_dataset(file, "ranks", H5T_STD_I32LE, std::span(&all, 1));
    svd::write_range(data, H5T_NATIVE_INT32, each * world.rank(), each, mine.data());
  });
  svd::collective_try(world, [&] {
    if (!world.is_root()) return;
    std::vector<std::int32_t> read(static_cast<std::size_t>(all));
    const svd::Hdf5Id file = svd::open_file(path);
    const svd::Hdf5Id data(HACK_HDF5(H5Dopen2(file.get(), "ranks", H5P_DEFAULT)));
    svd::read_range(data, H5T_NATIVE_INT32, 0, all, read.data());
    for (std::size_t i = 0; i < read.size(); ++i) {
      validate(read[i] == static_cast<std::int32_t>(i / each), "what rank {} wrote is not in the file", i / each);
    }
  });
}

}  // namespace

void to_json(nlohmann::json& json, const GroupFacts& facts) {
  json = {{"ranks", facts.ranks},
          {"nodes", facts.nodes},
          {"sums_are_right", facts.sums_are_right},
          {"allreduce_seconds", facts.allreduce_seconds},
          {"sees_same_folder", facts.sees_same_folder},
          {"parallel_write_error", facts.parallel_write_error}};
}

GroupFacts check_group(const comm::Communicator& world) {
  GroupFacts facts;
  facts.ranks = world.size();
  facts.nodes = static_cast<int>(comm::all_reduce_sum(world, world.split_by_node().is_root() ? 1.0 : 0.0));
  check_sums(world, facts);
  check_same_folder(world, facts);
  const fs::path path = scratch_file(world, ".h5");
  try {
    write_together(world, path);
  } catch (const Error& error) {
    facts.parallel_write_error = error.what();
  }
  std::error_code gone;
  if (world.is_root()) fs::remove(path, gone);
  return facts;
}

}  // namespace hack::jobs
