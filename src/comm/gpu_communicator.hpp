#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "comm/deadline.hpp"
#include "comm/gpu_collectives.hpp"
#include "comm/peer_memory.hpp"

namespace hack::comm {

/// NCCL's twin of a Communicator: the same ranks.
///
/// NCCL never notices a peer that stopped. Whoever waits for a stream with a collective in it polls the stream and
/// tells this class, which looks for errors and starts the deadline, whose end names the collective and ends all ranks.
/// Calls that block do so under the deadline, too.
class GpuCommunicator : public GpuCollectives {
 public:
  /// Returns when all ranks are connected. Collective.
  explicit GpuCommunicator(const Communicator& comm);
  ~GpuCommunicator() override;
  GpuCommunicator(const GpuCommunicator&) = delete;
  GpuCommunicator& operator=(const GpuCommunicator&) = delete;

  void all_reduce_sum(void* stream, float* x, std::int64_t n) override;
  bool add_reduced_and_norm(void* stream, const ResidualNorm<Device::cuda>& work) override;

  /// Throws an Error naming the collective where it failed on any rank; ends the process where a kernel may wait for
  /// other GPUs. Time counts against the deadline where a collective may be in the stream.
  void on_waiting() override;
  void on_done() override;

  /// NCCL's version, as 2.28.9.
  static std::string version();

 private:
  void check(int code, const char* call);
  void note_collective(void* stream);
  [[noreturn]] void give_up(const std::string& reason);

  PeerMemory peers_;
  void* comm_ = nullptr;  // ncclComm_t, whose header only gpu_communicator.cpp sees
  int rank_;
  const char* last_ = "ncclCommInitRankConfig";  // collective, for messages
  bool is_pending_ = false;                      // a collective has been given to a stream since a wait was over
  bool is_replayed_ = false;                     // some are in a graph that is launched again and again
  std::optional<Deadline::Wait> wait_;
};

}  // namespace hack::comm
