#pragma once

#include "kernels/buffer.hpp"

namespace hack::kernels {

/// Working memory of one thread. It grows to the largest size asked for and is kept, so that a call in a loop allocates
/// nothing; contents do not survive the next get().
class Scratch {
 public:
  float* get(index_t size) {
    if (size > buffer_.size()) buffer_ = Buffer<float>(size);
    return buffer_.data();
  }

 private:
  Buffer<float> buffer_;
};

}  // namespace hack::kernels
