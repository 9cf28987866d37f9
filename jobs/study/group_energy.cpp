#include "jobs/study/group_energy.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "comm/collectives.hpp"

namespace hack::jobs {
namespace {

/// A GPU among all of the group's: address and host, cut or filled up with zeros.
using Place = std::array<char, 128>;

Place place_of(const std::string& gpu) {
  char host[64] = {};
  gethostname(host, sizeof(host) - 1);
  const std::string text = gpu + " " + host;
  Place place{};
  std::copy_n(text.begin(), std::min(text.size(), place.size() - 1), place.begin());
  return place;
}

}  // namespace

GroupEnergy::GroupEnergy(const comm::Communicator& group, const EnergyMeter& meter, std::string gpu, double shortest)
    : group_(group), meter_(meter), gpu_(std::move(gpu)), shortest_(shortest) {
  const Place mine = place_of(gpu_);
  const std::vector<Place> all = comm::all_gather<Place>(group, std::span(&mine, 1));
  counts_ = std::find(all.begin(), all.end(), mine) - all.begin() == group.rank();
}

void GroupEnergy::start() {
  before_ = gpu_.empty() ? std::nullopt : meter_.joules(gpu_);
  watch_.restart();
}

std::optional<double> GroupEnergy::stop() const {
  const double seconds = watch_.seconds();
  const std::optional<double> after = before_ ? meter_.joules(gpu_) : std::nullopt;
  double sums[] = {after && counts_ ? *after - *before_ : 0.0, after && seconds >= shortest_ ? 0.0 : 1.0};
  comm::all_reduce_sum(group_, std::span<double>(sums));
  return sums[1] == 0 ? std::optional(sums[0]) : std::nullopt;
}

}  // namespace hack::jobs
