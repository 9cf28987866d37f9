#pragma once

#include <string_view>

namespace hack::model {

/// Text of modeling_hack.py, the file of Python that runs factored models in transformers.
std::string_view modeling_file();

}  // namespace hack::model
