#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "jobs/study/group_energy.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/session/session.hpp"
#include "kernels/queue.hpp"

namespace hack::jobs {

/// The work that a study times, for each number of ranks.
struct StudyWork {
  bool weak = false;        ///< the same work for each rank, instead of the same in all
  int repeats = 3;          ///< timed runs, after one that is not counted
  index_t tiles = 2048;     ///< at most so many tiles of the MLPs, of 128 × 128 (weak: of a rank)
  index_t prompt = 512;     ///< tokens
  index_t tokens = 32;      ///< decoded
  index_t context = 512;    ///< tokens of a window
  index_t windows = 8;      ///< (weak: of a rank)
  int tensor_parallel = 1;  ///< of the perplexity
};

/// One rank's share of a model that P ranks share, timed without the others. Text form: p/P, or all/P.
struct StudySlice {
  int part = 0;  ///< every: as many ranks as parts, each with its own, all at once
  int parts = 1;

  static constexpr int every = -1;

  /// An Error where the text is neither form.
  static StudySlice parse(const std::string& text);
  std::string text() const;
  /// Ranks that run it.
  int ranks() const { return part == every ? parts : 1; }
};

/// Times the phases on a group of ranks. Each phase returns a row, which is complete on rank 0 of the group:
///
///     phase, ranks, nodes, unit, work, repeats, seconds (median), seconds_min, seconds_max, rate (work / seconds),
///     compute_seconds, communication_seconds, wait_seconds, input_seconds (means over ranks, of one run with barriers
///     in front of collectives), imbalance (largest over mean compute), peak_memory_bytes (of a rank), on CPUs cores
///     (that the ranks may use together), joules and joules_per_token (of one run, on all GPUs; where these tell)
///
/// Of a slice prefill() and decode() are that rank's share with the all-reduces left out: `ranks` counts the ranks of
/// the whole job, the phase is "prefill slice" or "decode slice", and `slice` names the slice.
class StudyPhases {
 public:
  /// All outlive this. `type`: what weights are held in.
  StudyPhases(const Session& session, const ModelFiles& files, model::HeldType type, const comm::Communicator& group,
              const StudyWork& work, std::optional<StudySlice> slice = std::nullopt);

  /// Reads and factorizes tiles of the MLPs, all singular vectors.
  nlohmann::json factorization();
  /// Runs a prompt through a model that the ranks share (weak: each its own prompt through its own copy).
  nlohmann::json prefill();
  /// Decodes tokens one by one with a model that the ranks share, as prefill() does (`replayed`: whether each step was
  /// launched as a graph, as on GPUs).
  nlohmann::json decode();
  /// Scores windows, dealt to copies of the model.
  nlohmann::json perplexity();
  /// Reads memory: what decoding is bound by.
  nlohmann::json read();
  /// Sums vectors of several sizes over the ranks; no rows for one rank.
  std::vector<nlohmann::json> all_reduce();

 private:
  struct Timing;
  /// `steps` does the work where it is split: collectives can be timed there.
  template <class Work, class Steps>
  Timing time(const Work& work, const Steps& steps);
  template <class Work>
  Timing time(const Work& work);
  nlohmann::json row(const char* phase, const char* unit, double work, const Timing& timing) const;
  template <Device D>
  nlohmann::json factorization_on();
  template <class Work>
  nlohmann::json on_model(const char* phase, double tokens, const Work& work);

  const Session& session_;
  const ModelFiles& files_;
  model::HeldType type_;
  const comm::Communicator& group_;
  const StudyWork& work_;
  std::optional<StudySlice> slice_;
  int nodes_;
  int cores_;
  EnergyMeter meter_;
  GroupEnergy energy_;
  double input_seconds_ = 0;  // of the run in progress
};

}  // namespace hack::jobs
