#pragma once

#include "model/calibration/token_windows.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace hack::model {

/// A model, and the text that it is to do well on.
struct CalibrationText {
  const Checkpoint& checkpoint;
  const TokenWindows& windows;
};

}  // namespace hack::model
