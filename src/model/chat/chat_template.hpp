#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/chat/template_value.hpp"

namespace hack::model {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// How a model wants conversations written out: the chat template that its files bring, a program in Jinja. Of that
/// language what such templates need is known: texts, expressions, for, if and set, with the filters, tests and methods
/// in template_value.hpp. What is not (macros, calls) is an Error naming it.
class ChatTemplate {
 public:
  using Statement = std::function<void(TemplateScope&, std::string& out)>;

  explicit ChatTemplate(const std::string& source);

  /// The turns as the model's text, up to where its next turn begins; `bos` and `eos` as the template may print them.
  /// An Error if the template refuses the turns.
  std::string write(std::span<const ChatMessage> messages, const std::string& bos, const std::string& eos) const;

 private:
  std::vector<Statement> statements_;
};

/// Reads the turns of a conversation: a JSON list of {"role", "content"}, an object with such a list as "messages", or
/// one such object a line. `where` names the file in errors.
std::vector<ChatMessage> read_chat(const std::string& text, const std::string& where);

}  // namespace hack::model
