#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace hack::io {

/// Parses JSON that comes from outside; `where` names it in errors. An Error if it is no JSON, has a key twice in one
/// object, or nests deeper than 256 levels: whoever copies, compares or writes a value calls itself at each level.
nlohmann::json parse_json(std::string_view text, const std::string& where);

}  // namespace hack::io
