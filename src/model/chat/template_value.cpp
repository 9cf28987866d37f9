#include "model/chat/template_value.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/core.h>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

using Value = TemplateValue;

long whole(const Value& value, long otherwise) {
  return value.is_number() ? static_cast<long>(value.get<double>()) : otherwise;
}

/// Where an index or the end of a slice stands in a list of `size`.
long place_of(long index, long size) { return index < 0 ? index + size : index; }

Value numbers_combined(const std::string& operation, const Value& a, const Value& b) {
  const double x = a.get<double>(), y = b.get<double>();
  const bool is_whole = !a.is_number_float() && !b.is_number_float();
  validate(y != 0 || (operation != "/" && operation != "//" && operation != "%"), "the chat template divides by zero");
  double result = 0;
  if (operation == "+") result = x + y;
  if (operation == "-") result = x - y;
  if (operation == "*") result = x * y;
  if (operation == "/") return x / y;
  if (operation == "//") result = std::floor(x / y);
  if (operation == "%") result = x - y * std::floor(x / y);
  if (is_whole) return static_cast<long>(result);
  return result;
}

bool is_less(const Value& a, const Value& b) {
  validate((a.is_number() && b.is_number()) || (a.is_string() && b.is_string()),
           "the chat template compares values without an order");
  return a < b;
}

bool is_in(const Value& a, const Value& b) {
  if (b.is_string())
    return a.is_string() && b.get_ref<const std::string&>().find(a.get<std::string>()) != std::string::npos;
  if (b.is_object()) return a.is_string() && b.contains(a.get<std::string>());
  return b.is_array() && std::find(b.begin(), b.end(), a) != b.end();
}

}  // namespace

Value* TemplateScope::find(const std::string& name) {
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    if (const auto found = level->find(name); found != level->end()) return &found->second;
  }
  return nullptr;
}

void TemplateScope::count_step() {
  constexpr long most = 1'000'000;
  validate(++steps_ <= most, "the chat template takes more than {} steps; write the turns out as a prompt", most);
}

bool is_true(const Value& value) {
  if (value.is_discarded() || value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

std::string text_of(const Value& value) {
  if (value.is_discarded()) return "";
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_string()) return value.get<std::string>();
  validate(!value.is_structured(), "the chat template prints a list or an object, which is not supported");
  return value.dump();
}

Value element_of(const Value& value, const Value& key) {
  validate(!value.is_discarded(), "the chat template asks for '{}' of something undefined", text_of(key));
  if (value.is_object() && key.is_string()) {
    const auto found = value.find(key.get<std::string>());
    return found == value.end() ? undefined_value() : *found;
  }
  if (!key.is_number()) return undefined_value();
  const long size = static_cast<long>(value.is_string() ? value.get_ref<const std::string&>().size() : value.size());
  const long at = place_of(whole(key, 0), size);
  if (at < 0 || at >= size) return undefined_value();
  if (value.is_string()) return std::string(1, value.get_ref<const std::string&>()[static_cast<std::size_t>(at)]);
  return value.is_array() ? value[static_cast<std::size_t>(at)] : undefined_value();
}

Value slice_of(const Value& value, const Value& from, const Value& to, const Value& step) {
  validate(value.is_array() || value.is_string(), "the chat template takes a slice of something that is no list");
  const long size = static_cast<long>(value.is_string() ? value.get_ref<const std::string&>().size() : value.size());
  const long by = whole(step, 1);
  validate(by != 0, "the chat template takes a slice with a step of zero");
  const auto bound = [&](const Value& given, long otherwise) {
    return given.is_number() ? std::clamp(place_of(whole(given, 0), size), by > 0 ? 0L : -1L, by > 0 ? size : size - 1)
                             : otherwise;
  };
  const long begin = bound(from, by > 0 ? 0 : size - 1), end = bound(to, by > 0 ? size : -1);
  Value out = value.is_string() ? Value("") : Value::array();
  for (long i = begin; by > 0 ? i < end : i > end; i += by) {
    if (value.is_string()) {
      out.get_ref<std::string&>() += value.get_ref<const std::string&>()[static_cast<std::size_t>(i)];
    } else {
      out.push_back(value[static_cast<std::size_t>(i)]);
    }
  }
  return out;
}

Value combined(const std::string& operation, const Value& a, const Value& b) {
  const auto same = [&] {
    return a.is_discarded() || b.is_discarded() ? a.is_discarded() && b.is_discarded() : a == b;
  };
  if (operation == "==") return same();
  if (operation == "!=") return !same();
  if (operation == "~") return text_of(a) + text_of(b);
  if (operation == "in") return is_in(a, b);
  if (operation == "<") return is_less(a, b);
  if (operation == ">") return is_less(b, a);
  if (operation == "<=") return !is_less(b, a);
  if (operation == ">=") return !is_less(a, b);
  if (a.is_number() && b.is_number()) return numbers_combined(operation, a, b);
  if (operation == "+" && a.is_string() && b.is_string()) return a.get<std::string>() + b.get<std::string>();
  validate(operation == "+" && a.is_array() && b.is_array(), "the chat template applies {} to values of other kinds",
           operation);
  Value out = a;
  for (const Value& element : b) out.push_back(element);
  return out;
}

}  // namespace hack::model
