#include "model/tokenizer/regular_expression.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

pcre2_code* compile(std::string_view pattern, const std::string& source) {
  int error = 0;
  PCRE2_SIZE at = 0;
  // \C would match a part of a character, and the next search begin in its middle.
  constexpr std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* code = pcre2_compile(units(pattern), pattern.size(), options, &error, &at, nullptr);
  if (code == nullptr) {
    fail(
        "{}: regular expression '{}' is not usable ({}, at byte {}); only the syntax that PCRE2 and Oniguruma share "
        "works",
        source, pattern, message(error), at);
  }
  return code;
}

}  // namespace

void RegularExpression::Scratch::Release::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}

void RegularExpression::Release::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

RegularExpression::Scratch::Scratch() : data_(pcre2_match_data_create(1, nullptr)) {
  validate(data_ != nullptr, "PCRE2 could not allocate match data (out of memory); free some memory");
}

RegularExpression::RegularExpression(const std::string& pattern, const std::string& source)
    : source_(source), code_(compile(pattern, source)) {
  // Where there is no JIT the interpreter finds the same matches.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

std::optional<RegularExpression::Match> RegularExpression::find(std::string_view subject, std::size_t from,
                                                                Scratch& scratch) const {
  // Without NO_UTF_CHECK each search would read all of the subject again: minutes for a few MiB.
  const int found =
      pcre2_match(code_.get(), units(subject), subject.size(), from, PCRE2_NO_UTF_CHECK, scratch.data_.get(), nullptr);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  validate(found >= 0, "{}: the search by regular expression failed ({}); simplify the pattern", source_,
           message(found));
  const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(scratch.data_.get());
  validate(from <= ends[0] && ends[0] <= ends[1],
           "{}: a match of the regular expression ends before it starts (\\K in it); remove \\K", source_);
  return Match{ends[0], ends[1]};
}

std::optional<RegularExpression::Utf8Fault> RegularExpression::find_utf8_fault(std::string_view text) {
  if (text.empty()) return std::nullopt;
  static const RegularExpression empty("", "UTF-8 check");
  const Scratch scratch;
  const int found =
      pcre2_match(empty.code_.get(), units(text), text.size(), 0, PCRE2_ANCHORED, scratch.data_.get(), nullptr);
  if (found >= 0) return std::nullopt;
  return Utf8Fault{pcre2_get_startchar(scratch.data_.get()), message(found)};
}

}  // namespace hack::model
