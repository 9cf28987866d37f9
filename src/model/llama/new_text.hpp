#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "comm/collectives.hpp"
#include "model/llama/generate.hpp"

namespace hack::model {

/// New ids, one after the other, until the text ends.
class NewText {
 public:
  /// Communicator and options outlive this.
  NewText(const comm::Communicator& comm, const GenerateOptions& options, std::function<bool(int)> on_token)
      : comm_(comm), options_(options), on_token_(std::move(on_token)) {}

  /// Takes the next id. Returns whether the text goes on behind it. Collective where options.may_end.
  bool add(int id) {
    if (std::find(options_.stop_ids.begin(), options_.stop_ids.end(), id) != options_.stop_ids.end()) return false;
    ids_.push_back(id);
    int goes_on = on_token_(id) ? 1 : 0;
    if (options_.may_end) comm::broadcast(comm_, std::as_writable_bytes(std::span(&goes_on, 1)));
    return std::ssize(ids_) < options_.max_tokens && (goes_on == 1 || !options_.may_end);
  }

  const std::vector<int>& ids() const { return ids_; }

 private:
  const comm::Communicator& comm_;
  const GenerateOptions& options_;
  std::function<bool(int)> on_token_;
  std::vector<int> ids_;
};

}  // namespace hack::model
