#pragma once

#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace hack {

/// The one exception of the program. What a user can cause reads: problem (reason) suggestion.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws an Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format(text, std::forward<Args>(args)...));
}

/// Checks what comes from outside (files, options, libraries), in every build.
template <class... Args>
void validate(bool holds, fmt::format_string<Args...> text, Args&&... args) {
  if (!holds) fail(text, std::forward<Args>(args)...);
}

/// Throws an Error that names a broken precondition and where it stands.
[[noreturn]] inline void fail_contract(const char* condition,
                                       std::source_location at = std::source_location::current()) {
  fail("internal error: {} does not hold ({}:{}); please report it", condition, at.file_name(), at.line());
}

}  // namespace hack

/// States what a function needs of its callers. Checked in every build: none stands in an inner loop.
#define HACK_EXPECT(condition) ((condition) ? void(0) : ::hack::fail_contract(#condition))
