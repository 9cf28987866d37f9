#include "jobs/session/log.hpp"

#include <unistd.h>

#include <array>
#include <cmath>

namespace hack::jobs {

Progress::Progress(const Log& log, std::string what, std::string unit)
    : log_(log), what_(std::move(what)), unit_(std::move(unit)), terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (drawn_ && terminal_) io::print_message("\n");
}

void Progress::update(long done, long total, std::optional<int> slowest) {
  if (!log_.speaks()) return;
  const double seconds = watch_.seconds();
  const bool finished = done >= total;
  const double pause = terminal_ ? 0.2 : drawn_ ? 10 : 2;
  if (!finished && seconds - last_ < pause) return;
  last_ = seconds;
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  const std::string line =
      fmt::format("{}: {} of {} {} ({:.3g} a second{}{})", what_, done, total, unit_, rate,
                  finished ? ", " + format_seconds(seconds) : ", " + format_seconds(left) + " left",
                  slowest ? fmt::format(", rank {} is the slowest", *slowest) : "");
  io::print_message(fmt::format("{}{}{}", terminal_ ? "\r" : "", line, terminal_ ? "\033[K" : "\n"));
  drawn_ = true;
}

std::string format_bytes(double bytes) {
  constexpr std::array units = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string format_seconds(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long>(std::lround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace hack::jobs
