#include "comm/shared_reduction.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <new>
#include <numeric>
#include <thread>

#include <hwy/cache_control.h>

#include "comm/communicator.hpp"
#include "comm/deadline.hpp"
#include "comm/error.hpp"

namespace hack::comm {
namespace {

constexpr std::size_t line = 64;
constexpr index_t line_numbers = line / sizeof(float);

/// Slice `part` of n numbers in `parts`, whole cache lines each.
struct Slice {
  index_t begin, size;
};
Slice slice_of(index_t n, int parts, int part) {
  const index_t lines = (n + line_numbers - 1) / line_numbers;
  const index_t begin = std::min(n, lines * part / parts * line_numbers);
  return {begin, std::min(n, lines * (part + 1) / parts * line_numbers) - begin};
}

/// The most numbers that are copied through the caches; longer copies go past the caches into memory. Where two cores
/// share no cache, as on AMD's CPUs, a line that is dirty in the other core's cache comes at 2 to 4 GB/s, and writing a
/// line that the other core has read is as slow. The cores of an Intel CPU share their last cache, and memory is the
/// longer way there.
index_t through_caches() {
#if defined(__x86_64__)
  static const bool shares_a_cache = __builtin_cpu_is("intel") != 0;
  if (shares_a_cache) return std::numeric_limits<index_t>::max();
#endif
  return 1024;
}

/// Copies to a slot.
void publish(const float* from, index_t n, float* to) {
  if (n > through_caches()) {
    kernels::copy_past_caches(from, n, to);
  } else {
    std::copy_n(from, n, to);
  }
}

std::vector<int> world_ranks_of(MPI_Comm comm, int size) {
  std::vector<int> own(size), world(size);
  std::iota(own.begin(), own.end(), 0);
  MPI_Group group, all;
  HACK_MPI(MPI_Comm_group(comm, &group));
  HACK_MPI(MPI_Comm_group(MPI_COMM_WORLD, &all));
  HACK_MPI(MPI_Group_translate_ranks(group, size, own.data(), all, world.data()));
  MPI_Group_free(&group);
  MPI_Group_free(&all);
  return world;
}

constexpr std::size_t slot_bytes = SharedReduction::capacity * sizeof(float);
constexpr std::size_t segment_bytes = 2 * line + 2 * slot_bytes;  // counter, slots, and space to align them

/// One segment a rank, each in pages of its own; null where MPI has none to give.
MPI_Win allocate(MPI_Comm node) {
  MPI_Info info = MPI_INFO_NULL;
  HACK_MPI(MPI_Info_create(&info));
  HACK_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
  MPI_Win window = MPI_WIN_NULL;
  void* mine = nullptr;
  const int code = MPI_Win_allocate_shared(segment_bytes, 1, info, node, &mine, &window);
  MPI_Info_free(&info);
  int all_have_it = code == MPI_SUCCESS;
  HACK_MPI(MPI_Allreduce(MPI_IN_PLACE, &all_have_it, 1, MPI_INT, MPI_MIN, node));
  return all_have_it ? window : MPI_WIN_NULL;
}

}  // namespace

std::unique_ptr<SharedReduction> SharedReduction::make(const Communicator& comm) {
  const Deadline::Wait wait("MPI_Win_allocate_shared");
  MPI_Comm node = MPI_COMM_NULL;
  HACK_MPI(MPI_Comm_split_type(comm.native(), MPI_COMM_TYPE_SHARED, comm.rank(), MPI_INFO_NULL, &node));
  int size = 0;
  HACK_MPI(MPI_Comm_size(node, &size));
  // If one rank's node holds all ranks, it is every rank's node: all ranks decide alike.
  const MPI_Win window = size == comm.size() && size > 1 ? allocate(node) : MPI_WIN_NULL;
  if (window == MPI_WIN_NULL) {
    MPI_Comm_free(&node);
    return nullptr;
  }
  return std::unique_ptr<SharedReduction>(new SharedReduction(comm, node, window));
}

SharedReduction::SharedReduction(const Communicator& comm, MPI_Comm node, MPI_Win window)
    : node_(node),
      window_(window),
      rank_(comm.rank()),
      world_ranks_(world_ranks_of(node, comm.size())),
      adds_(comm.size()),
      total_(capacity / comm.size() + line_numbers) {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a lock would be of one process only");
  HACK_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, window_));
  for (int r = 0; r < comm.size(); ++r) {
    MPI_Aint bytes = 0;
    int unit = 0;
    void* base = nullptr;
    HACK_MPI(MPI_Win_shared_query(window_, r, &bytes, &unit, &base));
    std::size_t space = segment_bytes;
    // Every process maps whole pages, so that the offset of the aligned start is the same in all processes.
    auto* start = static_cast<std::byte*>(std::align(line, segment_bytes - line, base, space));
    segments_.push_back({reinterpret_cast<Counter*>(start), reinterpret_cast<float*>(start + line)});
  }
  new (segments_[rank_].counter) Counter{0};
  std::fill_n(segments_[rank_].slots, 2 * capacity, 0.0f);  // first touch: in the memory of this rank's NUMA domain
  HACK_MPI(MPI_Barrier(node_));
}

SharedReduction::~SharedReduction() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized || std::uncaught_exceptions() > 0) return;
  const Deadline::Wait wait("MPI_Win_free");
  MPI_Win_unlock_all(window_);
  MPI_Win_free(&window_);
  MPI_Comm_free(&node_);
}

void SharedReduction::sum(float* x, index_t n) { reduce(x, n, Sum::replaces, x); }

void SharedReduction::add_sum(const float* y, float* x, index_t n) { reduce(y, n, Sum::adds, x); }

void SharedReduction::reduce(const float* in, index_t n, Sum what, float* out) {
  for (index_t i = 0; i < n; i += capacity, ++pieces_) {
    const index_t size = std::min(capacity, n - i);
    if (size <= short_piece(static_cast<int>(adds_.size()))) {
      exchange_whole(in + i, size, what, out + i);
    } else {
      exchange_slices(in + i, size, what, out + i);
    }
  }
}

/// Every rank adds all vectors itself: P - 1 reads a number, but one step. Adding in rank order, with this rank's own
/// vector at its place, gives the same bits everywhere.
void SharedReduction::exchange_whole(const float* in, index_t n, Sum what, float* out) {
  publish(in, n, slot(rank_));
  step();
  wait_for_all();
  for (int r = 0; r < std::ssize(adds_); ++r) adds_[r] = r == rank_ ? in : slot(r);
  kernels::sum_in_order(adds_, n, what, out);
}

/// Two steps. Before the first a rank publishes its terms of the other ranks' slices; its own term is read from `in`,
/// so that the own slice of its slot is free for the total. The total is published before it is written to `out`,
/// because the other ranks wait for it. `in` and `out` may be the same vector: all terms of others are published before
/// anything is written, and the own slice of `out` is written after its last use as a term.
void SharedReduction::exchange_slices(const float* in, index_t n, Sum what, float* out) {
  const int ranks = static_cast<int>(adds_.size());
  float* const mine = slot(rank_);
  const Slice own = slice_of(n, ranks, rank_);
  publish(in, own.begin, mine);
  const index_t behind = own.begin + own.size;
  publish(in + behind, n - behind, mine + behind);
  step();
  wait_for_all();
  for (int r = 0; r < ranks; ++r) adds_[r] = (r == rank_ ? in : slot(r)) + own.begin;
  kernels::sum_in_order(adds_, own.size, Sum::replaces, total_.data());
  publish(total_.data(), own.size, mine + own.begin);
  step();
  const float* const own_total = total_.data();
  kernels::sum_in_order({&own_total, 1}, own.size, what, out + own.begin);
  for (int i = 1; i < ranks; ++i) {
    const int r = (rank_ + i) % ranks;  // so that not all ranks read one owner's slot at once
    const Slice slice = slice_of(n, ranks, r);
    wait_for(r);
    const float* const total = slot(r) + slice.begin;
    kernels::sum_in_order({&total, 1}, slice.size, what, out + slice.begin);
  }
}

float* SharedReduction::slot(int rank) const { return segments_[rank].slots + pieces_ % 2 * capacity; }

/// Publishes everything written so far: the release pairs with the acquire in wait_for(), so that a rank that has seen
/// the step sees the numbers.
void SharedReduction::step() {
  kernels::flush_copies();  // a release store does not order non-temporal stores
  segments_[rank_].counter->steps.store(++steps_, std::memory_order_release);
}

void SharedReduction::wait_for_all() const {
  for (int r = 0; r < std::ssize(adds_); ++r) {
    if (r != rank_) wait_for(r);
  }
}

void SharedReduction::wait_for(int rank) const {
  constexpr int looks = 100;  // about 3 µs: a switch to another process costs as much
  const std::atomic<std::uint64_t>& steps = segments_[rank].counter->steps;
  for (int i = 0; i < looks; ++i) {
    if (steps.load(std::memory_order_acquire) >= steps_) return;
    hwy::Pause();
  }
  wait_long(rank);
}

/// Gives the core away between looks: to a rank that shares the core, perhaps the very rank that is waited for.
void SharedReduction::wait_long(int rank) const {
  constexpr int yields = 20000;  // tens of ms; then sleeping costs a wait less than 1 %
  constexpr int progress = 64;
  const Deadline::Wait wait("all_reduce_sum", world_ranks_[rank]);
  const std::atomic<std::uint64_t>& steps = segments_[rank].counter->steps;
  for (int i = 1; steps.load(std::memory_order_acquire) < steps_; ++i) {
    if (i < yields) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    if (i % progress != 0) continue;
    // The other rank may wait for a message that MPI still holds back here: only calls of MPI send it.
    int found = 0;
    HACK_MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, node_, &found, MPI_STATUS_IGNORE));
  }
}

}  // namespace hack::comm
