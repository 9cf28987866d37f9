#include <algorithm>

#include "comm/gpu.hpp"

namespace hack::comm {

bool any_shared(const std::vector<std::string>& gpus) {
  std::vector<std::string> sorted = gpus;
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
}

}  // namespace hack::comm
