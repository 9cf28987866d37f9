#include "tests/simt/emulator.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <boost/context/pooled_fixedsize_stack.hpp>
#include <fmt/core.h>

namespace hack::simt {

namespace {

/// Stacks are kept from block to block.
boost::context::pooled_fixedsize_stack& stacks() {
  static boost::context::pooled_fixedsize_stack pool(64 * 1024);
  return pool;
}

template <class T>
void sum_groups(T (&x)[32], int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    T next[32];
    for (int l = 0; l < 32; ++l) next[l] = x[l] + x[l ^ offset];
    std::copy_n(next, 32, x);
  }
}

bool has_come(const std::uint32_t* flag, std::uint32_t value) {
  const std::atomic_ref<std::uint32_t> seen(*const_cast<std::uint32_t*>(flag));
  return static_cast<std::int32_t>(seen.load(std::memory_order_acquire) - value) >= 0;
}

}  // namespace

std::uint64_t order_seed = 1;

std::set<std::string>& kernels_run() {
  static std::set<std::string> names;
  return names;
}

Block::Block(const char* kernel, index_t number, kernels::cuda::Geometry geometry, std::uint64_t seed)
    : kernel_(kernel),
      number_(number),
      geometry_(geometry),
      random_(static_cast<std::uint32_t>(seed * 7919 + static_cast<std::uint64_t>(number) * 104729 + 1)),
      shared_(static_cast<std::size_t>(geometry.shared_words)),
      warps_(static_cast<std::size_t>(geometry.threads / 32)),
      states_(static_cast<std::size_t>(geometry.threads), State::ready) {}

void Block::fail(int thread, const std::string& what) const {
  throw Fault(fmt::format("{}, block {}, thread {}: {}", kernel_, number_, thread, what));
}

void Block::start(std::function<void(Execution&)> body) {
  body_ = std::move(body);
  for (int t = 0; t < geometry_.threads; ++t) {
    ready_.push_back(t);
    fibers_.emplace_back(std::allocator_arg, stacks(), [this, t](boost::context::fiber&& main) {
      main_ = &main;
      Execution exec(*this, t);
      try {
        body_(exec);
      } catch (const Fault& fault) {
        if (fault_.empty()) fault_ = fault.what();
      }
      states_[static_cast<std::size_t>(t)] = State::done;
      return std::move(*main_);
    });
  }
}

bool Block::step(int switches) {
  release_flags();
  if (ready_.empty()) return false;
  for (int n = 0; n < switches && !ready_.empty() && fault_.empty(); ++n) {
    const std::size_t pick = random_() % ready_.size();
    const int t = ready_[pick];
    ready_[pick] = ready_.back();
    ready_.pop_back();
    auto& fiber = fibers_[static_cast<std::size_t>(t)];
    fiber = std::move(fiber).resume();
    done_ += states_[static_cast<std::size_t>(t)] == State::done;
  }
  if (!fault_.empty()) {
    fibers_.clear();
    throw Fault(fault_);
  }
  return true;
}

void Block::fail_waiting() const {
  const auto waits = [this](State state) { return std::count(states_.begin(), states_.end(), state); };
  throw Fault(
      fmt::format("{}, block {}: {} threads wait at a barrier, {} for their warp and {} for a flag, {} have ended",
                  kernel_, number_, waits(State::at_barrier), waits(State::in_warp), waits(State::at_flag), done_));
}

void Block::run(const std::function<void(Execution&)>& body) {
  start(body);
  while (!is_done()) {
    if (step(geometry_.threads)) continue;
    fibers_.clear();
    fail_waiting();
  }
}

void Block::wait_for(int thread, const std::uint32_t* flag, std::uint32_t value) {
  while (!has_come(flag, value)) {
    flag_waits_.push_back({thread, flag, value});
    suspend(thread, State::at_flag);
  }
}

void Block::release_flags() {
  std::erase_if(flag_waits_, [&](const FlagWait& wait) {
    if (!has_come(wait.flag, wait.value)) return false;
    release(wait.thread, 1);
    return true;
  });
}

void Block::suspend(int thread, State state) {
  states_[static_cast<std::size_t>(thread)] = state;
  boost::context::fiber* mine = main_;
  *mine = std::move(*mine).resume();
  main_ = mine;
}

void Block::release(int first, int count) {
  for (int t = first; t < first + count; ++t) {
    states_[static_cast<std::size_t>(t)] = State::ready;
    ready_.push_back(t);
  }
}

void Block::count_weights(const void* address, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(address);
  for (std::size_t i = 0; counts_weights && i < bytes; ++i) weights_.insert(first + i);
}

void Block::sync(int thread) {
  if (++at_barrier_ == geometry_.threads) {
    at_barrier_ = 0;
    ++epoch_;
    release(0, geometry_.threads);
    ready_.erase(std::find(ready_.begin(), ready_.end(), thread));  // it goes on by itself
    return;
  }
  suspend(thread, State::at_barrier);
}

void Block::meet(int thread, Together what, int parameter, void (*combine)(Lane (&lanes)[32], int parameter),
                 Lane& lane) {
  Warp& warp = warps_[static_cast<std::size_t>(thread / 32)];
  if (warp.waiting > 0 && (warp.what != what || warp.parameter != parameter)) {
    fail(thread, "lanes of a warp meet in different operations");
  }
  warp.what = what;
  warp.parameter = parameter;
  warp.lanes[thread % 32] = lane;
  if (++warp.waiting == 32) {
    combine(warp.lanes, parameter);
    warp.waiting = 0;
    if (what == Together::sync) ++warp.epoch;
    release(thread / 32 * 32, 32);
    ready_.erase(std::find(ready_.end() - 32, ready_.end(), thread));
  } else {
    suspend(thread, State::in_warp);
  }
  lane = warp.lanes[thread % 32];
}

Block::Word& Block::word_at(int thread, int word) {
  if (word < 0 || word >= geometry_.shared_words) {
    fail(thread, fmt::format("word {} of {} in shared memory", word, geometry_.shared_words));
  }
  return shared_[static_cast<std::size_t>(word)];
}

bool Block::is_race(const Access& access, int thread) const {
  if (access.thread < 0 || access.thread == thread || access.epoch != epoch_) return false;
  const bool same_warp = access.thread / 32 == thread / 32;
  return !same_warp || access.warp_epoch == warps_[static_cast<std::size_t>(thread / 32)].epoch;
}

std::uint32_t Block::read(int thread, int number) {
  Word& word = word_at(thread, number);
  if (is_race(word.writer, thread)) {
    fail(thread, fmt::format("reads word {} of shared memory, written by thread {} without a barrier between", number,
                             word.writer.thread));
  }
  if (word.reader.epoch == epoch_ && word.reader.thread != thread) word.other_reader = word.reader;
  word.reader = access_of(thread);
  return word.value;
}

void Block::write(int thread, int number, std::uint32_t value) {
  Word& word = word_at(thread, number);
  for (const Access* access : {&word.writer, &word.reader, &word.other_reader}) {
    if (is_race(*access, thread)) {
      fail(thread, fmt::format("writes word {} of shared memory, {} by thread {} without a barrier between", number,
                               access == &word.writer ? "written" : "read", access->thread));
    }
  }
  word.writer = access_of(thread);
  word.value = value;
}

void Execution::sync_warp() {
  Block::Lane lane{};
  block_.meet(
      thread_, Block::Together::sync, 0, [](Block::Lane(&)[32], int) {}, lane);
}

float Execution::group_sum(float x, int lanes) {
  Block::Lane lane{};
  lane.f = x;
  const auto combine = [](Block::Lane(&all)[32], int group) {
    float values[32];
    for (int l = 0; l < 32; ++l) values[l] = all[l].f;
    sum_groups(values, group);
    for (int l = 0; l < 32; ++l) all[l].f = values[l];
  };
  block_.meet(thread_, Block::Together::sum, lanes, combine, lane);
  return lane.f;
}

double Execution::group_sum(double x, int lanes) {
  Block::Lane lane{};
  lane.d = x;
  const auto combine = [](Block::Lane(&all)[32], int group) {
    double values[32];
    for (int l = 0; l < 32; ++l) values[l] = all[l].d;
    sum_groups(values, group);
    for (int l = 0; l < 32; ++l) all[l].d = values[l];
  };
  block_.meet(thread_, Block::Together::sum, lanes, combine, lane);
  return lane.d;
}

float Execution::warp_max(float x) {
  Block::Lane lane{};
  lane.f = x;
  const auto combine = [](Block::Lane(&all)[32], int) {
    float largest = all[0].f;
    for (const Block::Lane& each : all) largest = std::fmax(largest, each.f);
    for (Block::Lane& each : all) each.f = largest;
  };
  block_.meet(thread_, Block::Together::maximum, 0, combine, lane);
  return lane.f;
}

float Execution::shuffle_xor(float x, int mask) {
  Block::Lane lane{};
  lane.f = x;
  const auto combine = [](Block::Lane(&all)[32], int by) {
    std::uint32_t values[32];
    for (int l = 0; l < 32; ++l) values[l] = all[l ^ by].words[0];
    for (int l = 0; l < 32; ++l) all[l].words[0] = values[l];
  };
  block_.meet(thread_, Block::Together::shuffle, mask, combine, lane);
  return lane.f;
}

int Execution::shuffle_xor(int x, int mask) {
  float bits;
  std::memcpy(&bits, &x, 4);
  bits = shuffle_xor(bits, mask);
  std::memcpy(&x, &bits, 4);
  return x;
}

void Execution::expect_aligned(const void* address) const {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) {
    throw Fault(fmt::format("thread {}: a load of 16 bytes from an address not divisible by 16", thread_));
  }
}

void Execution::load16(const void* address, std::uint32_t (&words)[4]) const {
  block_.count_weights(address, 16);
  expect_aligned(address);
  std::memcpy(words, address, 16);
}

void Execution::load_floats(const float* address, float (&to)[4]) const {
  expect_aligned(address);
  std::memcpy(to, address, 16);
}

void Execution::store_floats(float* address, const float (&from)[4]) const {
  expect_aligned(address);
  std::memcpy(address, from, 16);
}

namespace {

void expect_16_bytes(int thread, int word) {
  if (word % 4 != 0) {
    throw Fault(
        fmt::format("thread {}: 16 bytes from word {} of shared memory, which is not divisible by 4", thread, word));
  }
}

}  // namespace

void Execution::read16(const Shared<float>& shared, int i, float (&to)[4]) const {
  expect_16_bytes(thread_, shared.word(i));
  for (int q = 0; q < 4; ++q) to[q] = shared[i + q];
}

void Execution::write16(const Shared<float>& shared, int i, const float (&from)[4]) const {
  expect_16_bytes(thread_, shared.word(i));
  for (int q = 0; q < 4; ++q) shared[i + q] = from[q];
}

namespace {

float half_of(std::uint32_t pair, int which, bool is_bf16) {
  const auto bits = static_cast<std::uint16_t>(pair >> (16 * which));
  return is_bf16 ? to_float(bf16{bits}) : to_float(f16{bits});
}

/// Lane l holds, with g = l / 4 and t = l % 4: a[r] the pair at row g + 8 (r % 2), columns 2t + 8 (r / 2) …; b[r] the
/// pair at rows 2t + 8 r …, column g; sums[r] row g + 8 (r / 2), column 2t + r % 2.
void multiply_fragments(Block::Lane (&lanes)[32], int is_bf16) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    for (int which = 0; which < 2; ++which) {
      for (int r = 0; r < 4; ++r)
        a[g + 8 * (r % 2)][2 * t + 8 * (r / 2) + which] = half_of(lanes[l].words[r], which, is_bf16);
      for (int r = 0; r < 2; ++r) b[2 * t + 8 * r + which][g] = half_of(lanes[l].words[4 + r], which, is_bf16);
    }
  }
  for (int l = 0; l < 32; ++l) {
    for (int r = 0; r < 4; ++r) {
      const int row = l / 4 + 8 * (r / 2), col = 2 * (l % 4) + r % 2;
      float sum;
      std::memcpy(&sum, &lanes[l].words[6 + r], 4);
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][col];
      std::memcpy(&lanes[l].words[6 + r], &sum, 4);
    }
  }
}

}  // namespace

void Execution::multiply(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&sums)[4], bool is_bf16) {
  Block::Lane lane{};
  std::copy_n(a, 4, lane.words);
  std::copy_n(b, 2, lane.words + 4);
  std::memcpy(lane.words + 6, sums, 16);
  block_.meet(thread_, Block::Together::multiply, is_bf16 ? 1 : 0, multiply_fragments, lane);
  std::memcpy(sums, lane.words + 6, 16);
}

std::vector<index_t> order_of_blocks(index_t blocks) {
  std::vector<index_t> order(static_cast<std::size_t>(blocks));
  std::iota(order.begin(), order.end(), index_t{0});
  std::shuffle(order.begin(), order.end(), std::minstd_rand(static_cast<std::uint32_t>(order_seed + 7)));
  return order;
}

void SideBySide::run() {
  std::minstd_rand random(static_cast<std::uint32_t>(order_seed * 31337 + 1));
  std::vector<Blocks> running(queues_.size());
  std::vector<std::size_t> next(queues_.size());
  const auto take_next = [&](std::size_t gpu) {
    while (running[gpu].empty() && next[gpu] < queues_[gpu].size()) running[gpu] = queues_[gpu][next[gpu]++]();
  };
  for (int idle = 0;;) {
    bool is_done = true;
    for (std::size_t gpu = 0; gpu < queues_.size(); ++gpu) {
      std::erase_if(running[gpu], [](const auto& block) { return block->is_done(); });
      take_next(gpu);
      is_done = is_done && running[gpu].empty();
    }
    if (is_done) return;
    Blocks& blocks = running[random() % running.size()];
    if (blocks.empty()) continue;
    const auto& block = blocks[random() % blocks.size()];
    idle = block->step(1 + static_cast<int>(random() % 700)) ? 0 : idle + 1;
    // Long enough for every block to have been tried.
    if (idle > 1000) throw Fault("blocks of several GPUs wait for flags that none of them sets");
  }
}

}  // namespace hack::simt
