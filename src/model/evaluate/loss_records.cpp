#include "model/evaluate/loss_records.hpp"

#include <bit>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/durable_file.hpp"
#include "io/hash.hpp"
#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr const char* format = "hack-losses 1 ";
constexpr std::size_t digits = 8;  // of a loss

std::string to_hex(std::span<const float> losses) {
  std::string text;
  text.reserve(losses.size() * digits);
  for (const float loss : losses)
    fmt::format_to(std::back_inserter(text), "{:08x}", std::bit_cast<std::uint32_t>(loss));
  return text;
}

/// Nothing where the text is no such list.
std::vector<float> from_hex(const std::string& text) {
  std::vector<float> losses;
  for (std::size_t at = 0; at + digits <= text.size(); at += digits) {
    std::uint32_t bits = 0;
    const char* end = text.data() + at + digits;
    if (std::from_chars(text.data() + at, end, bits, 16).ptr != end) return {};
    losses.push_back(std::bit_cast<float>(bits));
  }
  return losses;
}

/// "dtype is bf16, here f32" of each field in which two runs differ.
std::string differences(const nlohmann::json& theirs, const nlohmann::json& ours) {
  std::string text;
  for (const auto& [name, value] : ours.items()) {
    const nlohmann::json other = theirs.is_object() ? theirs.value(name, nlohmann::json()) : nlohmann::json();
    if (other == value) continue;
    text += fmt::format("{}{} is {}, here {}", text.empty() ? "" : "; ", name, other.dump(), value.dump());
  }
  return text.empty() ? "it was written with other options" : text;
}

}  // namespace

LossRecords::LossRecords(std::filesystem::path path, const nlohmann::json& run)
    : path_(std::move(path)), header_(format + run.dump()) {
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  // A header without its end is that of a run that was killed while it began the file.
  if (!std::getline(file, line) || file.eof()) {
    validate(header_.compare(0, line.size(), line) == 0,
             "{} is no file of losses; name another file, or remove this one", path_.string());
    return;
  }
  check_header(line, run);
}

void LossRecords::check_header(const std::string& line, const nlohmann::json& run) const {
  if (line == header_) return;
  validate(line.rfind(format, 0) == 0, "{} is no file of losses; name another file, or remove this one",
           path_.string());
  const nlohmann::json theirs = nlohmann::json::parse(line.substr(std::string(format).size()), nullptr, false);
  fail("{} holds losses of another run ({}); name another file, or remove this one", path_.string(),
       differences(theirs, run));
}

std::string LossRecords::line_of(index_t number, const Window& window, std::span<const float> losses) const {
  io::Hash hash;
  hash.add(header_);
  for (const index_t value : {number, window.begin, window.end, window.first_scored}) hash.add(value);
  hash.add(std::as_bytes(losses));
  return fmt::format("{} {} {} {} {}", number, window.begin, window.end, hash.digits(), to_hex(losses));
}

void LossRecords::read(const WindowPlan& plan, WindowLosses& losses) const {
  losses.resize(plan.windows.size());
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    index_t number = 0, begin = 0, end = 0;
    std::string digest, values;
    if (!(words >> number >> begin >> end >> digest >> values)) continue;
    const index_t window = number - plan.first;
    if (window < 0 || window >= std::ssize(plan.windows) || !losses[window].empty()) continue;
    std::vector<float> found = from_hex(values);
    if (std::ssize(found) != plan.windows[window].scored()) continue;
    if (line_of(number, plan.windows[window], found) == line) losses[window] = std::move(found);
  }
}

void LossRecords::append(const WindowPlan& plan, index_t window, std::span<const float> losses) {
  std::string text;
  {
    std::ifstream before(path_, std::ios::binary | std::ios::ate);
    const bool is_there = before.good() && before.tellg() > 0;
    std::string first;
    if (is_there) {
      before.seekg(-1, std::ios::end);
      if (before.get() != '\n') text = "\n";  // ends the line that a killed run left
      before.seekg(0);
      std::getline(before, first);
    }
    if (first != header_) text = header_ + "\n";
    if (is_there && first != header_) std::filesystem::resize_file(path_, 0);  // half a header
  }
  text += line_of(plan.first + window, plan.windows[window], losses) + "\n";
  io::DurableFile file(path_, io::DurableFile::Begin::at_end);
  file.write(text);
  // A disk takes milliseconds to confirm, a window of a small model no more.
  const auto now = std::chrono::steady_clock::now();
  if (now - flushed_ < std::chrono::seconds(1)) return;
  file.flush();
  flushed_ = now;
}

}  // namespace hack::model
