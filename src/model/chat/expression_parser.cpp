#include "model/chat/expression_parser.hpp"

#include <utility>
#include <vector>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

using Value = TemplateValue;
using Expression = TemplateExpression;
using Scope = TemplateScope;
using TokenKind = TemplateToken::Kind;

Expression constant(Value value) {
  return [value = std::move(value)](Scope&) { return value; };
}

}  // namespace

bool ExpressionParser::is_next(std::string_view text) const {
  if (at_ == tokens_.size() || tokens_[at_].text != text) return false;
  return tokens_[at_].kind == TokenKind::name || tokens_[at_].kind == TokenKind::sign;
}

bool ExpressionParser::accept(std::string_view text) {
  if (!is_next(text)) return false;
  ++at_;
  return true;
}

void ExpressionParser::expect(std::string_view text) {
  validate(accept(text), "the chat template is damaged or of a kind that is not read ('{}' expected, not '{}')", text,
           is_at_end() ? "the tag's end" : tokens_[at_].text);
}

std::string ExpressionParser::name() {
  validate(!is_at_end() && tokens_[at_].kind == TokenKind::name,
           "the chat template is damaged or of a kind that is not read (a name expected)");
  return tokens_[at_++].text;
}

Expression ExpressionParser::expression() {
  constexpr int deepest = 100;
  validate(++depth_ <= deepest, "the chat template is nested more than {} deep", deepest);
  Expression value = condition();
  if (accept("if")) {
    Expression test = condition();
    Expression otherwise = accept("else") ? expression() : constant(undefined_value());
    value = [value, test, otherwise](Scope& scope) { return is_true(test(scope)) ? value(scope) : otherwise(scope); };
  }
  --depth_;
  return value;
}

Expression ExpressionParser::condition() {
  Expression a = conjunction();
  while (accept("or")) {
    a = [a, b = conjunction()](Scope& scope) {
      Value first = a(scope);
      return is_true(first) ? first : b(scope);
    };
  }
  return a;
}

Expression ExpressionParser::conjunction() {
  Expression a = negation();
  while (accept("and")) {
    a = [a, b = negation()](Scope& scope) {
      Value first = a(scope);
      return is_true(first) ? b(scope) : first;
    };
  }
  return a;
}

Expression ExpressionParser::negation() {
  bool is_negated = false;
  while (accept("not")) is_negated = !is_negated;
  Expression a = comparison();
  if (!is_negated) return a;
  return [a](Scope& scope) { return Value(!is_true(a(scope))); };
}

Expression ExpressionParser::comparison() {
  Expression a = sum();
  for (;;) {
    bool found = false;
    for (const std::string operation : {"==", "!=", "<=", ">=", "<", ">", "in"}) {
      if (!accept(operation)) continue;
      a = [a, b = sum(), operation](Scope& scope) { return combined(operation, a(scope), b(scope)); };
      found = true;
      break;
    }
    if (!found && is_next("not") && at_ + 1 < tokens_.size() && tokens_[at_ + 1].text == "in") {
      at_ += 2;
      a = [a, b = sum()](Scope& scope) { return Value(!is_true(combined("in", a(scope), b(scope)))); };
      found = true;
    }
    if (!found) return a;
  }
}

Expression ExpressionParser::chain(Level next, std::initializer_list<std::string_view> operations) {
  Expression a = (this->*next)();
  for (;;) {
    bool found = false;
    for (const std::string_view operation : operations) {
      if (!accept(operation)) continue;
      a = [a, b = (this->*next)(), sign = std::string(operation)](Scope& scope) {
        return combined(sign, a(scope), b(scope));
      };
      found = true;
      break;
    }
    if (!found) return a;
  }
}

Expression ExpressionParser::sum() { return chain(&ExpressionParser::concatenation, {"+", "-"}); }
Expression ExpressionParser::concatenation() { return chain(&ExpressionParser::product, {"~"}); }
Expression ExpressionParser::product() { return chain(&ExpressionParser::signed_value, {"*", "//", "/", "%"}); }

Expression ExpressionParser::signed_value() {
  if (!accept("-")) return tested();
  return [a = tested()](Scope& scope) { return combined("-", 0, a(scope)); };
}

Expression ExpressionParser::tested() {
  Expression value = with_members(primary());
  for (;;) {
    if (accept("|")) {
      const std::string filter = name();
      auto given = is_next("(") ? arguments() : [](Scope&) { return TemplateArguments(); };
      value = [value, filter, given](Scope& scope) { return apply_filter(value(scope), filter, given(scope)); };
    } else if (accept("is")) {
      const bool is_negated = accept("not");
      value = [value, test = name(), is_negated](Scope& scope) {
        return Value(passes_test(value(scope), test) != is_negated);
      };
    } else {
      return value;
    }
  }
}

Expression ExpressionParser::with_members(Expression value) {
  for (;;) {
    if (accept(".")) {
      const std::string member = name();
      if (is_next("(")) {
        value = [value, member, given = arguments()](Scope& scope) {
          return call_method(value(scope), member, given(scope));
        };
      } else {
        value = [value, member](Scope& scope) { return element_of(value(scope), member); };
      }
    } else if (accept("[")) {
      value = subscript(value);
    } else {
      return value;
    }
  }
}

Expression ExpressionParser::subscript(const Expression& value) {
  std::vector<Expression> parts(1, constant(undefined_value()));
  for (bool is_given = false; !accept("]");) {
    if (accept(":")) {
      parts.push_back(constant(undefined_value()));
      is_given = false;
      continue;
    }
    validate(!is_given && parts.size() <= 3, "the chat template is damaged (a subscript does not end)");
    parts.back() = expression();
    is_given = true;
  }
  if (parts.size() == 1) {
    return [value, key = parts[0]](Scope& scope) { return element_of(value(scope), key(scope)); };
  }
  parts.resize(3, constant(undefined_value()));
  return [value, parts](Scope& scope) {
    return slice_of(value(scope), parts[0](scope), parts[1](scope), parts[2](scope));
  };
}

std::function<TemplateArguments(Scope&)> ExpressionParser::arguments() {
  std::vector<std::pair<std::string, Expression>> given;
  expect("(");
  while (!accept(")")) {
    std::string key;
    if (at_ + 1 < tokens_.size() && tokens_[at_].kind == TokenKind::name && tokens_[at_ + 1].text == "=") {
      key = name();
      expect("=");
    }
    given.emplace_back(std::move(key), expression());
    if (!is_next(")")) expect(",");
  }
  return [given](Scope& scope) {
    TemplateArguments out;
    for (const auto& [key, value] : given) {
      if (key.empty()) {
        out.placed.push_back(value(scope));
      } else {
        out.named.emplace_back(key, value(scope));
      }
    }
    return out;
  };
}

Expression ExpressionParser::list() {
  std::vector<Expression> elements;
  while (!accept("]")) {
    elements.push_back(expression());
    if (!is_next("]")) expect(",");
  }
  return [elements](Scope& scope) {
    Value out = Value::array();
    for (const Expression& element : elements) out.push_back(element(scope));
    return out;
  };
}

Expression ExpressionParser::object() {
  std::vector<std::pair<Expression, Expression>> members;
  while (!accept("}")) {
    Expression key = expression();
    expect(":");
    members.emplace_back(std::move(key), expression());
    if (!is_next("}")) expect(",");
  }
  return [members](Scope& scope) {
    Value out = Value::object();
    for (const auto& [key, value] : members) out[text_of(key(scope))] = value(scope);
    return out;
  };
}

Expression ExpressionParser::primary() {
  validate(!is_at_end(), "the chat template is damaged (an expression is missing)");
  if (accept("(")) {
    Expression inner = expression();
    expect(")");
    return inner;
  }
  if (accept("[")) return list();
  if (accept("{")) return object();
  const TemplateToken token = tokens_[at_++];
  if (token.kind == TokenKind::text) {
    std::string text = token.text;  // neighbouring texts are one
    while (!is_at_end() && tokens_[at_].kind == TokenKind::text) text += tokens_[at_++].text;
    return constant(std::move(text));
  }
  if (token.kind == TokenKind::number) {
    const bool is_whole = token.text.find('.') == std::string::npos;
    validate(token.text.size() <= 15, "the chat template has the number {}", token.text);
    return constant(is_whole ? Value(std::stol(token.text)) : Value(std::stod(token.text)));
  }
  validate(token.kind == TokenKind::name, "the chat template is damaged or of a kind that is not read ('{}')",
           token.text);
  if (token.text == "true" || token.text == "True") return constant(true);
  if (token.text == "false" || token.text == "False") return constant(false);
  if (token.text == "none" || token.text == "None") return constant(nullptr);
  if (is_next("(")) {
    return [function = token.text, given = arguments()](Scope& scope) { return call_function(function, given(scope)); };
  }
  return [variable = token.text](Scope& scope) {
    scope.count_step();
    const Value* found = scope.find(variable);
    return found == nullptr ? undefined_value() : *found;
  };
}

}  // namespace hack::model
