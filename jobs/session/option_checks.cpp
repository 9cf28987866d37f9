#include "jobs/session/option_checks.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string_view>

#include <fmt/ranges.h>

#include "jobs/session/near_miss.hpp"
#include "jobs/session/parse_number.hpp"

namespace hack::jobs {
namespace {

/// CLI11 takes whole numbers that begin with 0 for octal, so that such a text is none here.
std::optional<long> parse_whole(std::string_view text) {
  const std::string_view digits = text.substr(text.starts_with('+') ? 1 : 0);
  return digits.size() > 1 && digits.front() == '0' ? std::nullopt : parse_number<long>(text);
}

std::string refusal(const std::string& text, const std::string& wanted) {
  return fmt::format("'{}' is not {}", shortened(text), wanted);
}

CLI::Validator check_of(const std::string& range, const std::string& kind,
                        const std::function<bool(const std::string&)>& holds) {
  return CLI::Validator(
      [=](const std::string& text) { return holds(text) ? std::string() : refusal(text, kind + " " + range); }, range);
}

}  // namespace

CLI::Validator whole(long least, long most) {
  return check_of(fmt::format("from {} to {}", least, most), "a whole number", [=](const std::string& text) {
    const std::optional<long> value = parse_whole(text);
    return value && *value >= least && *value <= most;
  });
}

CLI::Validator number(double least, double most) {
  return check_of(fmt::format("from {} to {}", least, most), "a number", [=](const std::string& text) {
    const std::optional<double> value = parse_number<double>(text);
    return value && *value >= least && *value <= most;
  });
}

CLI::Validator number_above(double least, double most) {
  return check_of(fmt::format("above {}, up to {}", least, most), "a number", [=](const std::string& text) {
    const std::optional<double> value = parse_number<double>(text);
    return value && *value > least && *value <= most;
  });
}

CLI::Validator one_of(const std::vector<std::string>& words) {
  return CLI::Validator(
      [words](const std::string& text) {
        if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
        return refusal(text, fmt::format("one of {}", fmt::join(words, ", "))) + did_you_mean(text, words);
      },
      fmt::format("{{{}}}", fmt::join(words, ",")));
}

CLI::Validator byte_size() {
  return CLI::Validator(
      [](std::string& text) {
        constexpr std::string_view units = "KMGT";
        std::string_view digits = text;
        const std::size_t unit = digits.empty() ? std::string_view::npos : units.find(digits.back());
        double factor = 1;
        if (unit != std::string_view::npos) {
          digits.remove_suffix(1);
          factor = std::ldexp(1.0, 10 * (static_cast<int>(unit) + 1));
        }
        const std::optional<double> value = parse_number<double>(digits);
        constexpr double most = 0x1p60;
        if (!value || !(*value > 0 && *value * factor <= most)) {
          return refusal(text, "a number of bytes above 0, as 800M or 2G (K, M, G or T: powers of 1024)");
        }
        text = std::to_string(static_cast<long>(*value * factor));
        return std::string();
      },
      "SIZE");
}

}  // namespace hack::jobs
