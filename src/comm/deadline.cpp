#include "comm/deadline.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "comm/environment.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::comm {
namespace {

const Stopwatch clock;

std::atomic<const char*> waiting_in{nullptr};
std::atomic<double> waiting_since{0};  // seconds of the clock; valid while waiting_in is set, as the next
std::atomic<int> waiting_for{Deadline::any};

std::string name_of(int rank) { return rank == Deadline::any ? "another rank" : fmt::format("rank {}", rank); }

class Watchdog {
 public:
  Watchdog(double seconds, std::string remedy)
      : seconds_(seconds), remedy_(std::move(remedy)), thread_([this] { watch(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(100), [this] { return stopping_; })) {
      const char* operation = waiting_in.load();
      if (operation == nullptr) continue;
      if (clock.seconds() - waiting_since.load() > seconds_) {
        Environment::abort(
            fmt::format("waited {} s in {} ({} has stopped or is far behind); look at the other ranks, or {}", seconds_,
                        operation, name_of(waiting_for), remedy_));
      }
    }
  }

  double seconds_;
  std::string remedy_;
  bool stopping_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
};

Watchdog* watchdog = nullptr;

}  // namespace

void Deadline::start(double seconds, const std::string& remedy) {
  stop();
  if (seconds > 0) watchdog = new Watchdog(seconds, remedy);
}

void Deadline::stop() {
  delete watchdog;
  watchdog = nullptr;
}

Deadline::Wait::Wait(const char* operation, int rank) {
  waiting_for = rank;
  waiting_since = clock.seconds();
  waiting_in = operation;
}

Deadline::Wait::~Wait() { waiting_in = nullptr; }

}  // namespace hack::comm
