#include "model/chat/template_parts.hpp"

#include <algorithm>
#include <cctype>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr std::string_view blanks = " \t\r\n\v\f";

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

/// Reads the tokens of one tag.
class TagReader {
 public:
  TagReader(std::string_view source, std::size_t at) : source_(source), at_(at) {}

  /// The tokens up to `close`, behind which at() stands. A "-" or "+" in front of it is no token.
  std::vector<TemplateToken> read(std::string_view close) {
    std::vector<TemplateToken> tokens;
    for (;;) {
      at_ = std::min(source_.find_first_not_of(blanks, at_), source_.size());
      validate(at_ < source_.size(), "the chat template is damaged (a tag does not end with {})", close);
      const std::string_view rest = source_.substr(at_);
      const bool is_marked = rest[0] == '-' || rest[0] == '+';
      if (rest.substr(is_marked ? 1 : 0).starts_with(close)) {
        strips_ = rest[0] == '-';
        keeps_ = rest[0] == '+';
        at_ += close.size() + (is_marked ? 1 : 0);
        return tokens;
      }
      tokens.push_back(next(rest));
    }
  }

  std::size_t at() const { return at_; }
  bool strips() const { return strips_; }
  bool keeps() const { return keeps_; }

 private:
  TemplateToken next(std::string_view rest) {
    using Kind = TemplateToken::Kind;
    const auto run = [&](auto belongs) {
      std::size_t n = 0;
      while (n < rest.size() && belongs(rest[n])) ++n;
      at_ += n;
      return std::string(rest.substr(0, n));
    };
    if (is_letter(rest[0])) return {Kind::name, run([](char c) { return is_letter(c) || is_digit(c); })};
    if (is_digit(rest[0])) return {Kind::number, run([](char c) { return is_digit(c) || c == '.'; })};
    if (rest[0] == '\'' || rest[0] == '"') return {Kind::text, text(rest)};
    for (const std::string_view sign : {"==", "!=", "<=", ">=", "//", "**"}) {
      if (rest.starts_with(sign)) {
        at_ += 2;
        return {Kind::sign, std::string(sign)};
      }
    }
    ++at_;
    return {Kind::sign, std::string(1, rest[0])};
  }

  std::string text(std::string_view rest) {
    constexpr std::string_view escapes = "n\nt\tr\rb\bf\f";
    std::string out;
    for (std::size_t i = 1; i < rest.size(); ++i) {
      if (rest[i] == rest[0]) {
        at_ += i + 1;
        return out;
      }
      if (rest[i] != '\\' || i + 1 == rest.size()) {
        out += rest[i];
        continue;
      }
      const char escaped = rest[++i];
      const std::size_t known = escapes.find(escaped);
      validate(escaped != 'u' && escaped != 'x', "the chat template has an escape \\{}, which is not read", escaped);
      if (known != std::string_view::npos && known % 2 == 0) {
        out += escapes[known + 1];
      } else {
        if (escaped != '\\' && escaped != '\'' && escaped != '"') out += '\\';
        out += escaped;
      }
    }
    fail("the chat template is damaged (a text does not end)");
  }

  std::string_view source_;
  std::size_t at_;
  bool strips_ = false;
  bool keeps_ = false;
};

void strip_end(std::string& text) { text.erase(text.find_last_not_of(blanks) + 1); }

/// Blanks between the last line end and the text's end go, if that is all there is.
void strip_indent(std::string& text, bool is_first) {
  const std::size_t last = text.find_last_not_of(" \t");
  if (last == std::string::npos ? is_first : text[last] == '\n') text.erase(last + 1);
}

}  // namespace

std::vector<TemplatePart> template_parts(std::string_view source) {
  using Kind = TemplatePart::Kind;
  if (source.ends_with('\n')) source.remove_suffix(1);  // Jinja drops the last line end
  std::vector<TemplatePart> parts;
  bool strips_start = false, trims_line = false;
  for (std::size_t at = 0; at < source.size();) {
    std::size_t open = at;
    while (open < source.size() && !(source[open] == '{' && open + 1 < source.size() &&
                                     std::string_view("{%#").find(source[open + 1]) != std::string_view::npos)) {
      ++open;
    }
    std::string text(source.substr(at, open - at));
    if (strips_start) text.erase(0, std::min(text.find_first_not_of(blanks), text.size()));
    const bool is_trimmed = trims_line && text.starts_with('\n');
    if (is_trimmed) text.erase(0, 1);
    if (open < source.size()) {
      const char mark = open + 2 < source.size() ? source[open + 2] : ' ';
      if (mark == '-') strip_end(text);
      if (source[open + 1] != '{' && mark != '+' && mark != '-') strip_indent(text, at == 0 || is_trimmed);
    }
    if (!text.empty()) parts.push_back({Kind::text, std::move(text), {}});
    if (open >= source.size()) break;
    const char kind = source[open + 1];
    const bool is_marked = open + 2 < source.size() && (source[open + 2] == '-' || source[open + 2] == '+');
    if (kind == '#') {
      const std::size_t end = source.find("#}", open + 2);
      validate(end != std::string_view::npos, "the chat template is damaged (a comment does not end)");
      strips_start = source[end - 1] == '-';
      trims_line = !strips_start;
      at = end + 2;
      continue;
    }
    TagReader tag(source, open + (is_marked ? 3 : 2));
    parts.push_back({kind == '{' ? Kind::output : Kind::statement, "", tag.read(kind == '{' ? "}}" : "%}")});
    at = tag.at();
    strips_start = tag.strips();
    trims_line = kind == '%' && !tag.strips() && !tag.keeps();
  }
  return parts;
}

}  // namespace hack::model
