#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/chat/template_parts.hpp"
#include "model/chat/template_value.hpp"

namespace hack::model {

/// An expression of a template, ready to be evaluated.
using TemplateExpression = std::function<TemplateValue(TemplateScope&)>;

/// Parses Jinja's expressions by recursive descent, in its order of precedence: a if b else c, or, and, not,
/// comparisons, + and -, ~, * / // and %, signs, filters and tests, members and calls.
class ExpressionParser {
 public:
  /// `tokens` outlive this.
  explicit ExpressionParser(std::span<const TemplateToken> tokens) : tokens_(tokens) {}

  TemplateExpression expression();
  /// The same without "if" and "else" behind it, as loops have them.
  TemplateExpression condition();

  /// Takes the next token if it is this name or sign.
  bool accept(std::string_view text);
  /// The same; an Error where it is another one.
  void expect(std::string_view text);
  std::string name();
  bool is_at_end() const { return at_ == tokens_.size(); }

 private:
  using Level = TemplateExpression (ExpressionParser::*)();

  TemplateExpression conjunction();
  TemplateExpression negation();
  TemplateExpression comparison();
  TemplateExpression sum();
  TemplateExpression concatenation();
  TemplateExpression product();
  TemplateExpression signed_value();
  TemplateExpression tested();
  TemplateExpression with_members(TemplateExpression value);
  TemplateExpression primary();
  TemplateExpression list();
  TemplateExpression object();
  TemplateExpression subscript(const TemplateExpression& value);
  /// `operations` between operands of the next level, from the left.
  TemplateExpression chain(Level next, std::initializer_list<std::string_view> operations);
  std::function<TemplateArguments(TemplateScope&)> arguments();
  bool is_next(std::string_view text) const;

  std::span<const TemplateToken> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace hack::model
