#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include <boost/context/fiber.hpp>

#include "kernels/cuda/enqueue.hpp"

namespace hack::simt {

/// What a kernel did wrong: a race, an access out of bounds, threads that wait for each other.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Execution;

/// Runs a thread block of a kernel's body on the host, each thread a fiber. Threads of a block
/// run in a random order, a new one after every barrier; where a correct kernel is meant, its results do not depend on
/// it.
class Block {
 public:
  Block(const char* kernel, index_t number, kernels::cuda::Geometry geometry, std::uint64_t seed);

  /// Runs body in every thread. Throws Fault.
  void run(const std::function<void(Execution&)>& body);

  /// The same in parts, beside other blocks: start, then steps until is_done(). A step lets at most `switches` threads
  /// go on once; it returns whether any could.
  void start(std::function<void(Execution&)> body);
  bool step(int switches);
  bool is_done() const { return done_ == geometry_.threads; }

  // What follows is for Execution.

  /// What lanes of a warp do together.
  enum class Together : std::uint8_t { sync, sum, maximum, shuffle, multiply };
  /// The numbers that a lane brings, and then takes.
  union Lane {
    double d;
    float f;
    std::uint32_t words[10];
  };

  void sync(int thread);
  /// Returns when the flag has come to the value.
  void wait_for(int thread, const std::uint32_t* flag, std::uint32_t value);
  /// Returns when all lanes of the warp have come with the same `what`; `lane` has the result then.
  void meet(int thread, Together what, int parameter, void (*combine)(Lane (&lanes)[32], int parameter), Lane& lane);
  std::uint32_t read(int thread, int word);
  void write(int thread, int word, std::uint32_t value);

  /// Keeps in mind that these bytes were read, where weights are counted.
  void count_weights(const void* address, std::size_t bytes);
  /// Bytes of weights that were read, each counted once: what a multiprocessor's cache holds for the block.
  index_t weight_bytes() const { return std::ssize(weights_); }

  index_t number() const { return number_; }
  int threads() const { return geometry_.threads; }

 private:
  enum class State : std::uint8_t { ready, at_barrier, in_warp, at_flag, done };
  /// Who waits for a flag.
  struct FlagWait {
    int thread;
    const std::uint32_t* flag;
    std::uint32_t value;
  };
  /// Who touched a word of shared memory last.
  struct Access {
    int thread = -1;
    int epoch = -1;       // of the block: how many barriers it has passed
    int warp_epoch = -1;  // likewise of the warp
  };
  struct Word {
    std::uint32_t value = 0xffffffffu;  // not a number
    Access writer, reader, other_reader;
  };
  struct Warp {
    int waiting = 0;
    int epoch = 0;
    Together what{};
    int parameter = 0;
    Lane lanes[32];
  };

  void release_flags();
  [[noreturn]] void fail_waiting() const;
  [[noreturn]] void fail(int thread, const std::string& what) const;
  void suspend(int thread, State state);
  void release(int first, int count);
  bool is_race(const Access& access, int thread) const;
  Access access_of(int thread) const { return {thread, epoch_, warps_[static_cast<std::size_t>(thread / 32)].epoch}; }
  Word& word_at(int thread, int word);

  const char* kernel_;
  index_t number_;
  kernels::cuda::Geometry geometry_;
  std::minstd_rand random_;
  std::vector<Word> shared_;
  std::vector<Warp> warps_;
  std::vector<State> states_;
  std::vector<int> ready_;
  std::vector<FlagWait> flag_waits_;
  std::function<void(Execution&)> body_;
  int done_ = 0;
  std::vector<boost::context::fiber> fibers_;
  boost::context::fiber* main_ = nullptr;  // of the running fiber: where it was resumed from
  int at_barrier_ = 0;
  int epoch_ = 0;
  std::string fault_;
  std::unordered_set<const std::byte*> weights_;
};

/// An array in shared memory whose every access is watched.
template <class T>
class Shared {
 public:
  class Reference {
   public:
    Reference(Block& block, int thread, int word) : block_(block), thread_(thread), word_(word) {}
    operator T() const {
      const std::uint32_t bits = block_.read(thread_, word_);
      T value;
      std::memcpy(&value, &bits, 4);
      return value;
    }
    Reference& operator=(T value) {
      std::uint32_t bits;
      std::memcpy(&bits, &value, 4);
      block_.write(thread_, word_, bits);
      return *this;
    }
    Reference& operator=(const Reference& other) { return *this = static_cast<T>(other); }
    Reference& operator+=(T value) { return *this = static_cast<T>(*this) + value; }
    Reference& operator*=(T value) { return *this = static_cast<T>(*this) * value; }

   private:
    Block& block_;
    int thread_;
    int word_;
  };

  Shared(Block& block, int thread, int word) : block_(&block), thread_(thread), word_(word) {}
  Reference operator[](index_t i) const { return {*block_, thread_, word_ + static_cast<int>(i)}; }
  Shared operator+(index_t i) const { return {*block_, thread_, word_ + static_cast<int>(i)}; }
  /// Number i's word in the block's shared memory.
  int word(int i) const { return word_ + i; }

 private:
  Block* block_;
  int thread_;
  int word_;
};

/// One thread of a block: the execution interface of kernels/cuda/execution.cuh.
class Execution {
 public:
  Execution(Block& block, int thread) : block_(block), thread_(thread) {}

  index_t block() const { return block_.number(); }
  int thread() const { return thread_; }
  int threads() const { return block_.threads(); }
  int lane() const { return thread_ % 32; }
  int warp() const { return thread_ / 32; }

  void sync() { block_.sync(thread_); }
  void sync_warp();

  template <class T>
  Shared<T> shared(int word) {
    static_assert(sizeof(T) == 4);
    return {block_, thread_, word};
  }

  float group_sum(float x, int lanes);
  double group_sum(double x, int lanes);
  float warp_max(float x);
  float shuffle_xor(float x, int mask);
  int shuffle_xor(int x, int mask);
  void load16(const void* address, std::uint32_t (&words)[4]) const;
  template <class T>
  T weight(const T& number) const {
    block_.count_weights(&number, sizeof(T));
    return number;
  }
  void load_floats(const float* address, float (&to)[4]) const;
  void store_floats(float* address, const float (&from)[4]) const;
  void read16(const Shared<float>& shared, int i, float (&to)[4]) const;
  void write16(const Shared<float>& shared, int i, const float (&from)[4]) const;

  // Atomic, because the other GPU may be one of another process.
  void publish(std::uint32_t* flag, std::uint32_t value) {
    std::atomic_ref<std::uint32_t>(*flag).store(value, std::memory_order_release);
  }
  void wait_for(const std::uint32_t* flag, std::uint32_t value) { block_.wait_for(thread_, flag, value); }
  std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t all) {
    const std::uint32_t before = *counter;
    *counter = before + 1 < all ? before + 1 : 0;
    return before;
  }
  float fresh(const float* address) const { return *address; }
  void fresh_floats(const float* address, float (&to)[4]) const { load_floats(address, to); }

  void turn(float angle, float& cosine, float& sine) const {
    cosine = static_cast<float>(std::cos(static_cast<double>(angle)));
    sine = static_cast<float>(std::sin(static_cast<double>(angle)));
  }

  float widen(float x) const { return x; }
  float widen(bf16 x) const { return to_float(x); }
  float widen(f16 x) const { return to_float(x); }
  template <class T>
  T narrow(float x) const {
    if constexpr (std::is_same_v<T, bf16>) {
      return to_bf16(x);
    } else {
      return to_f16(x);
    }
  }

  template <class T>
  void mma(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&sums)[4]) {
    multiply(a, b, sums, std::is_same_v<T, bf16>);
  }

 private:
  void expect_aligned(const void* address) const;
  void multiply(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&sums)[4], bool is_bf16);

  Block& block_;
  int thread_;
};

/// The names of the kernels that ran so far.
std::set<std::string>& kernels_run();

/// Shared memory that a block can ask for; tests take some away.
inline index_t shared_bytes = kernels::cuda::most_shared_bytes;

/// Launches so far, of any kernel that has blocks.
inline index_t launches = 0;

/// Whether bytes of weights that blocks read are counted, and how many they were so far.
inline bool counts_weights = false;
inline index_t weight_bytes = 0;

/// The most bytes of the device's memory that were in use at once; tests begin it anew.
inline std::size_t peak_bytes = 0;

/// Seed of the order of threads; tests run with several.
extern std::uint64_t order_seed;

/// The shape of a launch; throws a Fault where GPUs would refuse it.
template <class Kernel>
kernels::cuda::Geometry checked_geometry(const Kernel& kernel) {
  const kernels::cuda::Geometry geometry = kernel.geometry();
  static_assert(sizeof(Kernel) <= kernels::cuda::most_argument_bytes || !std::is_trivially_copyable_v<Kernel>);
  if (geometry.shared_words * 4 > shared_bytes) {
    throw Fault(std::string(Kernel::name) + ": more shared memory than a block can have");
  }
  if (geometry.threads % 32 != 0 || geometry.threads > Kernel::max_threads) {
    throw Fault(std::string(Kernel::name) + ": launched with a number of threads that it does not allow");
  }
  return geometry;
}

/// Numbers of blocks in a random order, another one for every seed: GPUs promise none.
std::vector<index_t> order_of_blocks(index_t blocks);

template <class Kernel>
void launch(const Kernel& kernel) {
  const kernels::cuda::Geometry geometry = checked_geometry(kernel);
  launches += geometry.blocks > 0;
  for (const index_t b : order_of_blocks(geometry.blocks)) {
    Block block(Kernel::name, b, geometry, order_seed);
    block.run([&](Execution& exec) { kernel(exec); });
    weight_bytes += block.weight_bytes();
  }
}

/// Several GPUs side by side, each with a queue of launches: their blocks go on in a random order, a few threads at a
/// time, those of one launch together and the next launch when all are done.
class SideBySide {
 public:
  explicit SideBySide(int gpus) : queues_(static_cast<std::size_t>(gpus)) {}

  template <class Kernel>
  void add(int gpu, const Kernel& kernel) {
    kernels_run().insert(Kernel::name);
    queues_[static_cast<std::size_t>(gpu)].push_back([kernel] {
      const kernels::cuda::Geometry geometry = checked_geometry(kernel);
      std::vector<std::unique_ptr<Block>> blocks;
      for (index_t b = 0; b < geometry.blocks; ++b) {
        blocks.push_back(std::make_unique<Block>(Kernel::name, b, geometry, order_seed));
        blocks.back()->start([kernel](Execution& exec) { kernel(exec); });
      }
      return blocks;
    });
  }

  /// Returns when all launches are done. Throws Fault, also where blocks wait for what never comes.
  void run();

 private:
  using Blocks = std::vector<std::unique_ptr<Block>>;

  std::vector<std::vector<std::function<Blocks()>>> queues_;
};

}  // namespace hack::simt
