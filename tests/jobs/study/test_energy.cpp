// Energy counters of GPUs, by a library that plays NVIDIA's.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "jobs/study/energy_meter.hpp"
#include "jobs/study/group_energy.hpp"

namespace hack::jobs {
namespace {

TEST(EnergyMeter, TellsNothingWhereThereIsNoLibrary) {
  const EnergyMeter meter("libno-such-library.so.1");
  EXPECT_FALSE(meter.is_there());
  EXPECT_EQ(meter.joules("0000:17:00.0"), std::nullopt);
}

TEST(EnergyMeter, TellsNothingWhereTheLibraryIsAnother) {
  const EnergyMeter meter("libm.so.6");
  EXPECT_FALSE(meter.is_there());
  EXPECT_EQ(meter.joules("0000:17:00.0"), std::nullopt);
}

TEST(EnergyMeter, TellsJoulesOfCardsThatCount) {
  const EnergyMeter meter(HACK_FAKE_NVML);
  ASSERT_TRUE(meter.is_there());
  const std::optional<double> before = meter.joules("0000:17:00.0"), after = meter.joules("0000:17:00.0");
  ASSERT_TRUE(before && after);
  EXPECT_DOUBLE_EQ(*after - *before, 2.5);
  EXPECT_EQ(meter.joules("0000:17:00.1"), std::nullopt);
  EXPECT_EQ(meter.joules("17:00.0"), std::nullopt);
}

TEST(GroupEnergy, AddsUpTheCardsOfAllRanks) {
  const comm::Communicator world = comm::Communicator::world();
  const EnergyMeter meter(HACK_FAKE_NVML);
  GroupEnergy energy(world, meter, fmt::format("0000:{:02x}:00.0", world.rank()), 0);
  energy.start();
  const std::optional<double> joules = energy.stop();
  ASSERT_TRUE(joules);
  EXPECT_DOUBLE_EQ(*joules, 2.5 * world.size());
}

TEST(GroupEnergy, CountsACardOnceThatRanksShare) {
  const comm::Communicator world = comm::Communicator::world();
  const EnergyMeter meter(HACK_FAKE_NVML);
  GroupEnergy energy(world, meter, fmt::format("0000:{:02x}:00.0", world.rank() / 2), 0);
  energy.start();
  const std::optional<double> joules = energy.stop();
  ASSERT_TRUE(joules);
  EXPECT_DOUBLE_EQ(*joules, 2.5 * ((world.size() + 1) / 2));
}

TEST(GroupEnergy, TellsNothingUnlessAllCardsDo) {
  const comm::Communicator world = comm::Communicator::world();
  const EnergyMeter meter(HACK_FAKE_NVML);
  const bool is_last = world.rank() == world.size() - 1;
  for (const char* odd : {"", "0000:09:00.1"}) {
    GroupEnergy energy(world, meter, is_last ? odd : "0000:01:00.0", 0);
    energy.start();
    EXPECT_EQ(energy.stop(), std::nullopt);
  }
}

TEST(GroupEnergy, TellsNothingOfTimesThatCountersDoNotResolve) {
  const comm::Communicator world = comm::Communicator::world();
  const EnergyMeter meter(HACK_FAKE_NVML);
  GroupEnergy energy(world, meter, "0000:01:00.0", 1000);
  energy.start();
  EXPECT_EQ(energy.stop(), std::nullopt);
}

}  // namespace
}  // namespace hack::jobs
