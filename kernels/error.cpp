#include "kernels/error.hpp"

namespace hack {

void fail_with(fmt::string_view text, fmt::format_args args) { throw Error(fmt::vformat(text, args)); }

void fail_contract(const char* condition, std::source_location at) {
  fail("internal error: {} does not hold ({}:{}); please report it", condition, at.file_name(), at.line());
}

}  // namespace hack
