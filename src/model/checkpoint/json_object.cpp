#include "model/checkpoint/json_object.hpp"

#include <limits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "io/json_text.hpp"
#include "io/mapped_file.hpp"

namespace hack::model {

namespace {

std::int64_t to_integer(const nlohmann::json& value, const std::string& where, const std::string& key) {
  validate(value.is_number_integer(), "cannot use {} ('{}' is not an integer)", where, key);
  validate(!value.is_number_unsigned() ||
               value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()),
           "cannot use {} ('{}' is above 2^63)", where, key);
  return value.get<std::int64_t>();
}

}  // namespace

nlohmann::json read_json(const std::filesystem::path& path) {
  const io::MappedFile file(path);
  return io::parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

JsonObject::JsonObject(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {
  validate(object.is_object(), "cannot use {} (not a JSON object)", where_);
}

bool JsonObject::has(const std::string& key) const { return object_->find(key) != object_->end(); }

const nlohmann::json* JsonObject::find(const std::string& key) const {
  const auto at = object_->find(key);
  return at == object_->end() || at->is_null() ? nullptr : &*at;
}

std::optional<std::int64_t> JsonObject::find_integer(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return {};
  return to_integer(*value, where_, key);
}

std::optional<double> JsonObject::find_number(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return {};
  validate(value->is_number(), "cannot use {} ('{}' is not a number)", where_, key);
  return value->get<double>();
}

std::optional<bool> JsonObject::find_bool(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return {};
  validate(value->is_boolean(), "cannot use {} ('{}' is not true or false)", where_, key);
  return value->get<bool>();
}

std::optional<std::string> JsonObject::find_string(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return {};
  validate(value->is_string(), "cannot use {} ('{}' is not a text)", where_, key);
  return value->get<std::string>();
}

std::optional<JsonObject> JsonObject::find_object(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return {};
  return JsonObject(*value, where_ + ", '" + key + "'");
}

std::vector<std::int64_t> JsonObject::integers(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) fail_absent(key);
  if (!value->is_array()) return {to_integer(*value, where_, key)};
  std::vector<std::int64_t> out;
  for (const nlohmann::json& element : *value) out.push_back(to_integer(element, where_, key));
  return out;
}

std::vector<double> JsonObject::numbers(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) fail_absent(key);
  validate(value->is_array(), "cannot use {} ('{}' is not a list)", where_, key);
  std::vector<double> out;
  for (const nlohmann::json& element : *value) {
    validate(element.is_number(), "cannot use {} ('{}' holds something that is not a number)", where_, key);
    out.push_back(element.get<double>());
  }
  return out;
}

void JsonObject::fail_absent(const std::string& key) const { fail("cannot use {} (it has no '{}')", where_, key); }

}  // namespace hack::model
