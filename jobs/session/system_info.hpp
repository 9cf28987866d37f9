#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.hpp"

namespace hack::jobs {

/// Cores this rank may use: the cores it is bound to, or its share of a node that it shares with other ranks.
/// Collective.
int usable_cores(const comm::Communicator& world);

/// Cores that the ranks may use together. Of hosts that are one machine (name spaces, containers) each core counts
/// once. Collective.
int cores_together(const comm::Communicator& group);

/// An Error where Slurm has started several programs that do not know each other: each would do all the work and write
/// the same files. Slurm's steps say how many they are (SLURM_STEP_NUM_TASKS); under mpirun they count nodes.
void check_launcher(const comm::Communicator& world);

/// Host, CPU, cores, and names and versions of the libraries at work. Collective; the same on every rank.
nlohmann::json describe_environment(const comm::Communicator& world, int threads, const char* device);

/// The value of the first line of /proc/cpuinfo that starts with `key`; empty where there is none.
std::string cpu_info(const std::string& key);

std::string host_name();

/// Largest resident memory of this process so far, or since forget_peak_memory(), in bytes.
double peak_memory_bytes();
/// Starts peak_memory_bytes() again from what is resident now, where the system can (Linux).
void forget_peak_memory();

/// Warns about set-ups that cost speed without a word: a BLAS tuned for an older CPU, a rank bound to one of many
/// cores. Empty where all is well.
std::string performance_warning(const comm::Communicator& world, int threads);

}  // namespace hack::jobs
