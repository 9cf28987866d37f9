#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace hack::model {

/// A value of a template; discarded: undefined.
using TemplateValue = nlohmann::ordered_json;

/// Arguments of a call: by place and by name.
struct TemplateArguments {
  std::vector<TemplateValue> placed;
  std::vector<std::pair<std::string, TemplateValue>> named;
};

/// Variables of a template, those of loops above those around them.
class TemplateScope {
 public:
  TemplateScope() : levels_(1) {}

  void push() { levels_.emplace_back(); }
  void pop() { levels_.pop_back(); }
  /// Null where there is none.
  TemplateValue* find(const std::string& name);
  void set(const std::string& name, TemplateValue value) { levels_.back()[name] = std::move(value); }

  /// Counts what a template does; an Error once it is more than any chat needs.
  void count_step();

 private:
  std::vector<std::map<std::string, TemplateValue>> levels_;
  long steps_ = 0;
};

/// What is not there.
inline TemplateValue undefined_value() { return TemplateValue(TemplateValue::value_t::discarded); }

/// Whether a value counts as true: neither undefined, none, false, zero nor empty.
bool is_true(const TemplateValue& value);

/// The value as it is printed.
std::string text_of(const TemplateValue& value);

/// value.key or value[key]: a member, an element, a character; undefined where there is none.
TemplateValue element_of(const TemplateValue& value, const TemplateValue& key);

/// value[from:to:step]; undefined ends are open.
TemplateValue slice_of(const TemplateValue& value, const TemplateValue& from, const TemplateValue& to,
                       const TemplateValue& step);

/// a operation b, for + - * / // % ~ == != < <= > >= and in.
TemplateValue combined(const std::string& operation, const TemplateValue& a, const TemplateValue& b);

/// value.name(arguments), value|name(arguments), value is name, name(arguments): an Error names what is not known.
TemplateValue call_method(const TemplateValue& value, const std::string& name, const TemplateArguments& arguments);
TemplateValue apply_filter(const TemplateValue& value, const std::string& name, const TemplateArguments& arguments);
bool passes_test(const TemplateValue& value, const std::string& name);
TemplateValue call_function(const std::string& name, const TemplateArguments& arguments);

}  // namespace hack::model
