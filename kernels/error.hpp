#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

#include <fmt/core.h>

namespace hack {

/// The one exception of the program. What a user can cause reads: problem (reason) suggestion.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws an Error whose message is the text with the arguments in their places.
[[noreturn]] void fail_with(fmt::string_view text, fmt::format_args args);

/// Throws an Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  fail_with(text, fmt::make_format_args(args...));
}

/// Checks what comes from outside (files, options, libraries), in every build.
template <class... Args>
void validate(bool holds, fmt::format_string<Args...> text, Args&&... args) {
  if (!holds) fail_with(text, fmt::make_format_args(args...));
}

/// Throws an Error that names a broken precondition and where it stands.
[[noreturn]] void fail_contract(const char* condition, std::source_location at = std::source_location::current());

}  // namespace hack

/// States what a function needs of its callers. Checked in every build: none stands in an inner loop.
#define HACK_EXPECT(condition) ((condition) ? void(0) : ::hack::fail_contract(#condition))
