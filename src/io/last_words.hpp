#pragma once

#include <string>

namespace hack::io {

/// What is said on standard error where a signal ends the process while this object lives: where finished work stands,
/// and how to go on with it. One at a time.
class LastWords {
 public:
  explicit LastWords(const std::string& sentence);
  ~LastWords();
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;

  /// Says it; safe in a signal handler.
  static void say() noexcept;
};

}  // namespace hack::io
