#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hack::model {

/// Reads a whole JSON file; what is wrong with it is an Error naming the file. No object may have a key twice.
nlohmann::json read_json(const std::filesystem::path& path);

/// A JSON object from outside, read key by key: a value of another kind is an Error naming the place and the key.
/// A key whose value is null counts as absent. The object must outlive this.
class JsonObject {
 public:
  /// `where` names the object in errors: a file, or a place in it. An Error if `object` is something else.
  JsonObject(const nlohmann::json& object, std::string where);

  const std::string& where() const { return where_; }

  /// Whether the key is there, whatever its value: null too.
  bool has(const std::string& key) const;
  /// Null if absent.
  const nlohmann::json* find(const std::string& key) const;

  std::optional<std::int64_t> find_integer(const std::string& key) const;
  std::optional<double> find_number(const std::string& key) const;
  std::optional<bool> find_bool(const std::string& key) const;
  std::optional<std::string> find_string(const std::string& key) const;
  std::optional<JsonObject> find_object(const std::string& key) const;

  /// The same, an Error if absent.
  std::int64_t integer(const std::string& key) const { return need(find_integer(key), key); }
  double number(const std::string& key) const { return need(find_number(key), key); }
  bool boolean(const std::string& key) const { return need(find_bool(key), key); }
  std::string string(const std::string& key) const { return need(find_string(key), key); }
  JsonObject object(const std::string& key) const { return need(find_object(key), key); }

  /// Lists; an Error if absent. `integers` takes a single integer for a list of one.
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;

 private:
  template <class T>
  T need(std::optional<T> value, const std::string& key) const {
    if (!value) fail_absent(key);
    return *std::move(value);
  }
  [[noreturn]] void fail_absent(const std::string& key) const;

  const nlohmann::json* object_;
  std::string where_;
};

}  // namespace hack::model
