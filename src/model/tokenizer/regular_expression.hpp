#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace hack::model {

/// A PCRE2 pattern over UTF-8 with Unicode properties, compiled to machine code where PCRE2 can. Immutable: threads
/// share one, each with a Scratch of its own.
class RegularExpression {
 public:
  /// Memory that a search writes to.
  class Scratch {
   public:
    Scratch();

   private:
    friend class RegularExpression;
    struct Release {
      void operator()(pcre2_real_match_data_8* data) const;
    };
    std::unique_ptr<pcre2_real_match_data_8, Release> data_;
  };

  /// Bytes begin … end - 1 of the subject.
  struct Match {
    std::size_t begin;
    std::size_t end;
  };

  struct Utf8Fault {
    std::size_t offset;
    std::string reason;
  };

  /// Compiles `pattern`. An Error naming `source`, where the pattern stands, if PCRE2 does not take it.
  RegularExpression(const std::string& pattern, const std::string& source);

  /// Finds the first match that starts at byte `from` or later; `subject` must be valid UTF-8, which is not checked
  /// again. An Error if the search needs more steps or memory than PCRE2 allows.
  std::optional<Match> find(std::string_view subject, std::size_t from, Scratch& scratch) const;

  /// Finds the first byte of `text` that is not UTF-8.
  static std::optional<Utf8Fault> find_utf8_fault(std::string_view text);

 private:
  struct Release {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::string source_;
  std::unique_ptr<pcre2_real_code_8, Release> code_;
};

}  // namespace hack::model
