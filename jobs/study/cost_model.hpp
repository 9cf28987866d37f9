#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/checkpoint/llama_config.hpp"

namespace hack::jobs {

/// Time of an all-reduce of P ranks: base + steps(P) hop + volume(P) bytes / bandwidth.
struct Link {
  /// P' is the largest power of two that is not above P.
  ///
  ///     ring      2 (P - 1) steps, 2 (P - 1) / P of the bytes on each link (NCCL)
  ///     halving   2 ⌈log2 P⌉ steps, the same bytes
  ///     one_shot  one step, each rank reads all others' bytes (fused kernels)
  ///     doubling  log2 P' steps with all bytes each, and two more unless P = P' (MPI, short vectors)
  ///     folding   2 log2 P' steps, 2 (P' - 1) / P' of the bytes; unless P = P' the other ranks exchange half of theirs
  ///               with a neighbour, who then sends half back and at the end all (MPI, long vectors). These go one way,
  ///               in half the time of an exchange: 5 / 4 of the bytes more
  enum class Kind { ring, halving, one_shot, doubling, folding };

  Kind kind = Kind::halving;
  double base = 0;       ///< seconds
  double hop = 0;        ///< seconds
  double bandwidth = 0;  ///< bytes/s; 0: not known, no time
  double from = 0;       ///< bytes from which it counts, in place of links that count from fewer bytes

  double steps(int ranks) const;
  double volume(int ranks) const;
  double seconds(int ranks, double bytes) const;
};

/// What one rank of a machine can do. Figures of published machines are their makers'; figures of a study are measured.
struct Machine {
  std::string name;
  double read_bandwidth = 0;    ///< bytes/s from memory
  double flops = 0;             ///< of matrix products in the type weights are held in
  double tiles_per_second = 0;  ///< 128 × 128 tiles factorized; 0: not known
  double memory = 0;            ///< bytes
  double kernel_gap = 0;        ///< seconds between two kernels on the device
  int ranks_per_node = 8;
  std::vector<Link> within;   ///< a node; one for each way to do it, of which the quickest counts from its bytes on
  std::vector<Link> between;  ///< nodes

  /// All-reduce over ranks placed node by node: within nodes, then between them.
  double all_reduce_seconds(int ranks, double bytes) const;
};

/// A machine by name: a100-80gb, h100, h200. An Error names them if it is another.
Machine published_machine(std::string_view name);
/// A published machine by its name, or the measured machine of a study's .json by its path. An Error where the text is
/// neither.
Machine open_machine(const std::string& name_or_study);
/// A machine as a study's report describes it ("machine"). An Error where fields are missing.
Machine machine_from_json(const nlohmann::json& json);
nlohmann::json to_json(const Machine& machine);

/// A model and how it is run.
struct Workload {
  model::LlamaConfig config;
  double bytes_per_weight = 2;
  double mlp_keep = 1;            ///< bytes and operations of the MLP's factors over the dense matrices'
  double mlp_width = 1;           ///< bytes of a factor's code over bytes_per_weight
  double activation_bytes = 4;    ///< of a number that is summed over ranks
  bool head_is_split = true;      ///< over the vocabulary; false: every rank reads all of it (gpt-fast)
  double context = 0;             ///< tokens in the cache while decoding, tokens of a window
  double kernels_per_layer = 10;  ///< of a decoded token
  index_t tile = 128;
};

/// Predicts the times of T tensor-parallel ranks.
class CostModel {
 public:
  CostModel(Machine machine, Workload workload) : machine_(std::move(machine)), work_(std::move(workload)) {}

  /// Seconds of one decoded token: bytes of the rank's weights and cache / bandwidth + gaps + 2 all-reduces a layer.
  double decode_seconds(int tensor) const;
  /// Seconds of a prompt.
  double prefill_seconds(int tensor, double tokens) const;
  /// Seconds of one window of `context` tokens, all of them scored.
  double window_seconds(int tensor) const;
  /// Seconds of all tiles of the MLP on so many ranks; 0 where the machine's rate is not known.
  double factorization_seconds(int ranks) const;

  const Machine& machine() const { return machine_; }
  const Workload& workload() const { return work_; }

 private:
  double layer_weights(int tensor) const;
  double mlp_weights(int tensor) const;
  double head_weights(int tensor) const;
  double layers_seconds(int tensor, double tokens) const;

  Machine machine_;
  Workload work_;
};

}  // namespace hack::jobs
