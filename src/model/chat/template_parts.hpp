#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hack::model {

/// A word or sign inside a tag of a template.
struct TemplateToken {
  enum class Kind { name, text, number, sign };
  Kind kind;
  std::string text;  ///< a text without its quotes, its escapes resolved
};

/// A piece of a template: plain text, {{ an expression }} or {% a statement %}.
struct TemplatePart {
  enum class Kind { text, output, statement };
  Kind kind;
  std::string text;
  std::vector<TemplateToken> tokens;
};

/// Cuts a Jinja template into its parts, without comments, white space handled as transformers does: the line end
/// behind a statement and the blanks in front of one at a line's start go, "-" takes all white space on its side. An
/// Error for a tag or text that does not end.
std::vector<TemplatePart> template_parts(std::string_view source);

}  // namespace hack::model
