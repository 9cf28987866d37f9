#include "io/json_text.hpp"

#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"

namespace hack::io {

using nlohmann::json;

json parse_json(std::string_view text, const std::string& where) {
  constexpr int deepest = 256;
  // The library takes a zero byte for the end, whatever stands behind it.
  const std::size_t zero = text.find('\0');
  validate(zero == text.npos, "{} is not valid JSON (byte {} is zero)", where, zero);
  std::vector<std::set<std::string>> keys;  // of the objects now open
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    validate(depth <= deepest, "{} is damaged (it nests deeper than {} levels)", where, deepest);
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      validate(keys.back().insert(key).second, "{} is damaged (key '{}' appears twice)", where, key);
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& error) {
    fail("{} is not valid JSON ({})", where, error.what());
  }
}

}  // namespace hack::io
