#pragma once

#include <optional>
#include <string>

#include <fmt/core.h>

#include "io/messages.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {

/// Messages of a run, written to stderr by rank 0 alone.
class Log {
 public:
  explicit Log(bool speaks) : speaks_(speaks) {}
  bool speaks() const { return speaks_; }

  template <class... Args>
  void info(fmt::format_string<Args...> text, Args&&... args) const {
    if (speaks_) io::print_message(fmt::format(text, std::forward<Args>(args)...) + "\n");
  }

 private:
  bool speaks_;
};

/// How far a loop is, its rate, the time left and the slowest rank: a line that redraws itself on a terminal, in a log
/// a plain line after two seconds and then every ten.
class Progress {
 public:
  Progress(const Log& log, std::string what, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `slowest`: the rank that the others wait for, where there is one.
  void update(long done, long total, std::optional<int> slowest = {});

 private:
  const Log& log_;
  std::string what_;
  std::string unit_;
  bool terminal_;
  bool drawn_ = false;
  Stopwatch watch_;
  double last_ = 0;  // seconds at which it was last drawn
};

/// 1536 -> "1.5 KiB".
std::string format_bytes(double bytes);

/// 75 -> "1 min 15 s".
std::string format_seconds(double seconds);

}  // namespace hack::jobs
