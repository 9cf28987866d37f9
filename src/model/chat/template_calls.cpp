// Methods, filters, tests and functions that chat templates call: those of Jinja and Python that transformers knows.

#include <algorithm>
#include <cctype>
#include <ctime>

#include "kernels/error.hpp"
#include "model/chat/template_value.hpp"

namespace hack::model {
namespace {

using Value = TemplateValue;
using Arguments = TemplateArguments;

/// The argument at a place, or of a name; undefined where it is not given.
Value argument(const Arguments& arguments, std::size_t place, std::string_view name = "") {
  if (place < arguments.placed.size()) return arguments.placed[place];
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return value;
  }
  return undefined_value();
}

std::string stripped(const std::string& text, const Value& of, bool left, bool right) {
  const std::string signs = of.is_string() ? of.get<std::string>() : " \t\n\r\v\f";
  const std::size_t begin = left ? text.find_first_not_of(signs) : 0;
  if (begin == std::string::npos) return "";
  const std::size_t end = right ? text.find_last_not_of(signs) + 1 : text.size();
  return text.substr(begin, end > begin ? end - begin : 0);
}

/// Of ASCII letters.
std::string cased(std::string text, bool upper) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) c = static_cast<char>(upper ? std::toupper(byte) : std::tolower(byte));
  }
  return text;
}

Value split(const std::string& text, const Value& by) {
  Value out = Value::array();
  if (!by.is_string() || by.get_ref<const std::string&>().empty()) {  // at white space, none of it left
    std::size_t at = 0;
    while ((at = text.find_first_not_of(" \t\n\r\v\f", at)) != std::string::npos) {
      const std::size_t end = std::min(text.find_first_of(" \t\n\r\v\f", at), text.size());
      out.push_back(text.substr(at, end - at));
      at = end;
    }
    return out;
  }
  const auto& mark = by.get_ref<const std::string&>();
  std::size_t at = 0;
  for (std::size_t next; (next = text.find(mark, at)) != std::string::npos; at = next + mark.size()) {
    out.push_back(text.substr(at, next - at));
  }
  out.push_back(text.substr(at));
  return out;
}

std::string replaced(std::string text, const Value& from, const Value& to) {
  validate(from.is_string() && to.is_string() && !from.get_ref<const std::string&>().empty(),
           "the chat template replaces something that is no text");
  const auto old = from.get<std::string>(), fresh = to.get<std::string>();
  for (std::size_t at = 0; (at = text.find(old, at)) != std::string::npos; at += fresh.size()) {
    text.replace(at, old.size(), fresh);
  }
  return text;
}

/// JSON as Python writes it: a space behind colons and commas.
void write_json(const Value& value, std::string& out) {
  if (!value.is_structured()) {
    out += value.is_discarded() ? "null" : value.dump();
    return;
  }
  out += value.is_array() ? '[' : '{';
  bool is_first = true;
  for (const auto& [key, element] : value.items()) {
    if (!is_first) out += ", ";
    is_first = false;
    if (value.is_object()) out += Value(key).dump() + ": ";
    write_json(element, out);
  }
  out += value.is_array() ? ']' : '}';
}

std::string joined(const Value& list, const std::string& between) {
  std::string out;
  for (std::size_t i = 0; i < list.size(); ++i) out += (i > 0 ? between : "") + text_of(list[i]);
  return out;
}

/// The elements whose member, named by the first argument, passes a test: is true, defined, or equal to a value.
Value selected(const Value& list, const Arguments& arguments, bool keeps) {
  const Value test = argument(arguments, 1);
  Value out = Value::array();
  for (const Value& element : list) {
    const Value member = element_of(element, argument(arguments, 0));
    bool passes = is_true(member);
    if (test.is_string()) {
      const auto name = test.get<std::string>();
      const bool compares = name == "equalto" || name == "==";
      passes = compares ? is_true(combined("==", member, argument(arguments, 2))) : passes_test(member, name);
    }
    if (passes == keeps) out.push_back(element);
  }
  return out;
}

Value pairs_of(const Value& object) {
  Value out = Value::array();
  for (const auto& [key, value] : object.items()) out.push_back(Value::array({key, value}));
  return out;
}

}  // namespace

Value call_method(const Value& value, const std::string& name, const Arguments& arguments) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const Value first = argument(arguments, 0);
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
      return stripped(text, first, name != "rstrip", name != "lstrip");
    }
    if (name == "startswith" && first.is_string()) return text.starts_with(first.get<std::string>());
    if (name == "endswith" && first.is_string()) return text.ends_with(first.get<std::string>());
    if (name == "split") return split(text, first);
    if (name == "replace") return replaced(text, first, argument(arguments, 1));
    if (name == "upper" || name == "lower") return cased(text, name == "upper");
    if (name == "join" && first.is_array()) return joined(first, text);
  }
  if (value.is_object()) {
    if (name == "items") return pairs_of(value);
    if (name == "get") {
      const Value found = element_of(value, argument(arguments, 0));
      if (!found.is_discarded()) return found;
      const Value otherwise = argument(arguments, 1);
      return otherwise.is_discarded() ? Value() : otherwise;
    }
  }
  fail("the chat template calls '{}', which is not supported; write the turns out as a prompt", name);
}

Value apply_filter(const Value& value, const std::string& name, const Arguments& arguments) {
  if (name == "length" || name == "count") {
    return static_cast<long>(value.is_string() ? value.get_ref<const std::string&>().size() : value.size());
  }
  if (name == "trim") return stripped(text_of(value), argument(arguments, 0), true, true);
  if (name == "upper" || name == "lower") return cased(text_of(value), name == "upper");
  if (name == "string") return text_of(value);
  if (name == "safe" || name == "list") return value;
  if (name == "items") return pairs_of(value);
  if (name == "first") return element_of(value, 0);
  if (name == "last") return element_of(value, -1);
  if (name == "replace") return replaced(text_of(value), argument(arguments, 0), argument(arguments, 1));
  if (name == "default" || name == "d") return value.is_discarded() ? argument(arguments, 0) : value;
  if (name == "join") return joined(value, text_of(argument(arguments, 0, "d")));
  if (name == "selectattr" || name == "rejectattr") return selected(value, arguments, name == "selectattr");
  if (name == "tojson") {
    const Value indent = argument(arguments, 0, "indent");
    if (indent.is_number()) return value.dump(indent.get<int>());
    std::string out;
    write_json(value, out);
    return out;
  }
  fail("the chat template uses the filter '{}', which is not supported; write the turns out as a prompt", name);
}

bool passes_test(const Value& value, const std::string& name) {
  if (name == "defined") return !value.is_discarded();
  if (name == "undefined") return value.is_discarded();
  if (name == "none") return value.is_null();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_object();
  if (name == "iterable" || name == "sequence") return value.is_structured() || value.is_string();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_number_integer();
  if (name == "boolean") return value.is_boolean();
  if (name == "true") return value.is_boolean() && value.get<bool>();
  if (name == "false") return value.is_boolean() && !value.get<bool>();
  fail("the chat template uses the test '{}', which is not supported; write the turns out as a prompt", name);
}

Value call_function(const std::string& name, const Arguments& arguments) {
  if (name == "raise_exception") fail("the chat template refuses these turns ({})", text_of(argument(arguments, 0)));
  if (name == "namespace" || name == "dict") {
    Value out = Value::object();
    for (const auto& [key, value] : arguments.named) out[key] = value;
    return out;
  }
  if (name == "strftime_now") {
    char text[256];
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    return std::string(text, std::strftime(text, sizeof(text), text_of(argument(arguments, 0)).c_str(), &local));
  }
  validate(name == "range", "the chat template calls '{}', which is not supported; write the turns out as a prompt",
           name);
  constexpr long most = 100'000;
  const auto number = [&](std::size_t place, long otherwise) {
    const Value given = argument(arguments, place);
    return given.is_number() ? static_cast<long>(given.get<double>()) : otherwise;
  };
  const bool has_start = arguments.placed.size() > 1;
  const long begin = has_start ? number(0, 0) : 0, end = number(has_start ? 1 : 0, 0), step = number(2, 1);
  validate(step != 0 && (end - begin) / step <= most, "the chat template counts further than {}", most);
  Value out = Value::array();
  for (long i = begin; step > 0 ? i < end : i > end; i += step) out.push_back(i);
  return out;
}

}  // namespace hack::model
