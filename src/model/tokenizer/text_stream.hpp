#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hack::model {

/// Text that arrives in pieces cut anywhere, to be shown while it comes: whole characters, up to the first of some stop
/// texts, which may lie across pieces.
class TextStream {
 public:
  /// `stops`: none of them empty.
  explicit TextStream(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Takes the next bytes and returns what may be shown now. Held back are the beginning of a stop text and that of a
  /// character in UTF-8.
  std::string add(std::string_view bytes);

  /// The rest that was held back, once nothing more comes.
  std::string finish();

  /// Whether a stop text has come; what follows it is dropped.
  bool is_stopped() const { return is_stopped_; }

 private:
  std::size_t beginning_of_stop() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool is_stopped_ = false;
};

}  // namespace hack::model
