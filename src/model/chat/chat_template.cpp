#include "model/chat/chat_template.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "io/json_text.hpp"
#include "kernels/error.hpp"
#include "model/chat/expression_parser.hpp"
#include "model/chat/template_parts.hpp"
#include "model/checkpoint/json_object.hpp"

namespace hack::model {
namespace {

using Value = TemplateValue;
using Scope = TemplateScope;
using Statement = ChatTemplate::Statement;
using Block = std::vector<Statement>;

void run(const Block& block, Scope& scope, std::string& out) {
  constexpr std::size_t longest = std::size_t{1} << 28;
  for (const Statement& statement : block) {
    scope.count_step();
    statement(scope, out);
    validate(out.size() <= longest, "the chat template writes more than {} bytes", longest);
  }
}

/// Puts statements together from the parts of a template.
class StatementParser {
 public:
  explicit StatementParser(const std::vector<TemplatePart>& parts) : parts_(parts) {}

  Block all() {
    Block block = until({});
    validate(at_ == parts_.size(), "the chat template is damaged ('{}' without its beginning)", word_at(at_));
    return block;
  }

 private:
  /// Statements up to one that begins with one of the words, which is left; up to the end where there is none.
  Block until(std::initializer_list<std::string_view> words) {
    constexpr int deepest = 100;
    validate(++depth_ <= deepest, "the chat template is nested more than {} deep", deepest);
    Block block;
    for (; at_ < parts_.size(); ++at_) {
      const TemplatePart& part = parts_[at_];
      if (part.kind == TemplatePart::Kind::text) {
        block.push_back([text = part.text](Scope&, std::string& out) { out += text; });
      } else if (part.kind == TemplatePart::Kind::output) {
        ExpressionParser tokens(part.tokens);
        auto value = whole(tokens);
        block.push_back([value](Scope& scope, std::string& out) { out += text_of(value(scope)); });
      } else if (std::find(words.begin(), words.end(), word_at(at_)) != words.end()) {
        break;
      } else {
        block.push_back(statement());
      }
    }
    validate(words.size() == 0 || at_ < parts_.size(), "the chat template is damaged ('{}' is missing)",
             words.size() == 0 ? "" : *(words.end() - 1));
    --depth_;
    return block;
  }

  std::string word_at(std::size_t at) const {
    return at < parts_.size() && !parts_[at].tokens.empty() ? parts_[at].tokens[0].text : "";
  }

  static TemplateExpression whole(ExpressionParser& tokens) {
    TemplateExpression value = tokens.expression();
    validate(tokens.is_at_end(),
             "the chat template is damaged or of a kind that is not read (something stands behind "
             "an expression)");
    return value;
  }

  /// The statement at at_; afterwards at_ is at its last tag.
  Statement statement() {
    ExpressionParser tokens(parts_[at_].tokens);
    const std::string word = tokens.name();
    if (word == "if") return conditional(tokens);
    if (word == "for") return loop(tokens);
    if (word == "set") return assignment(tokens);
    if (word == "generation" || word == "endgeneration") return [](Scope&, std::string&) {};  // marks for training
    fail("the chat template uses '{}', which is not supported; write the turns out as a prompt", word);
  }

  Statement conditional(ExpressionParser& first) {
    std::vector<std::pair<TemplateExpression, Block>> branches;
    TemplateExpression test = whole(first);
    for (;;) {
      ++at_;
      Block block = until({"elif", "else", "endif"});
      branches.emplace_back(std::move(test), std::move(block));
      ExpressionParser tokens(parts_[at_].tokens);
      const std::string word = tokens.name();
      if (word == "endif") break;
      test = word == "elif" ? whole(tokens) : [](Scope&) { return Value(true); };
    }
    return [branches](Scope& scope, std::string& out) {
      for (const auto& [holds, block] : branches) {
        if (is_true(holds(scope))) return run(block, scope, out);
      }
    };
  }

  Statement loop(ExpressionParser& tokens) {
    std::vector<std::string> names = {tokens.name()};
    while (tokens.accept(",")) names.push_back(tokens.name());
    tokens.expect("in");
    TemplateExpression list = tokens.condition();
    TemplateExpression filter;
    if (tokens.accept("if")) filter = whole(tokens);
    validate(tokens.is_at_end(), "the chat template is damaged or of a kind that is not read (a loop)");
    ++at_;
    Block body = until({"endfor"});
    return [names, list, filter, body](Scope& scope, std::string& out) {
      run_loop(names, list(scope), filter, body, scope, out);
    };
  }

  static void bind(const std::vector<std::string>& names, const Value& element, Scope& scope) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      scope.set(names[i], names.size() == 1 ? element : element_of(element, static_cast<long>(i)));
    }
  }

  static void run_loop(const std::vector<std::string>& names, const Value& list, const TemplateExpression& filter,
                       const Block& body, Scope& scope, std::string& out) {
    validate(list.is_array() || list.is_object(), "the chat template loops over something that is no list");
    std::vector<Value> elements;
    scope.push();
    for (const auto& [key, value] : list.items()) {
      Value element = list.is_object() ? Value(key) : value;
      bind(names, element, scope);
      if (!filter || is_true(filter(scope))) elements.push_back(std::move(element));
    }
    scope.pop();
    const auto size = static_cast<long>(elements.size());
    for (long i = 0; i < size; ++i) {
      scope.push();
      bind(names, elements[static_cast<std::size_t>(i)], scope);
      Value position = {{"index", i + 1},  {"index0", i},           {"revindex", size - i}, {"revindex0", size - i - 1},
                        {"first", i == 0}, {"last", i + 1 == size}, {"length", size}};
      if (i > 0) position["previtem"] = elements[static_cast<std::size_t>(i - 1)];
      if (i + 1 < size) position["nextitem"] = elements[static_cast<std::size_t>(i + 1)];
      scope.set("loop", std::move(position));
      run(body, scope, out);
      scope.pop();
    }
  }

  Statement assignment(ExpressionParser& tokens) {
    const std::string name = tokens.name();
    const std::string member = tokens.accept(".") ? tokens.name() : "";
    TemplateExpression value;
    if (tokens.accept("=")) {
      value = whole(tokens);
    } else {  // what stands up to endset
      validate(tokens.is_at_end(), "the chat template is damaged or of a kind that is not read (set)");
      ++at_;
      value = [body = until({"endset"})](Scope& scope) {
        std::string text;
        run(body, scope, text);
        return Value(text);
      };
    }
    return [name, member, value](Scope& scope, std::string&) {
      Value result = value(scope);
      if (member.empty()) return scope.set(name, std::move(result));
      Value* object = scope.find(name);
      validate(object != nullptr && object->is_object(),
               "the chat template sets '{}' of something that is no namespace", member);
      (*object)[member] = std::move(result);
    };
  }

  const std::vector<TemplatePart>& parts_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

ChatMessage message_of(const nlohmann::json& json, const std::string& where) {
  const JsonObject object(json, where);
  return {object.string("role"), object.string("content")};
}

}  // namespace

ChatTemplate::ChatTemplate(const std::string& source) {
  const std::vector<TemplatePart> parts = template_parts(source);
  statements_ = StatementParser(parts).all();
}

std::string ChatTemplate::write(std::span<const ChatMessage> messages, const std::string& bos,
                                const std::string& eos) const {
  Scope scope;
  Value list = Value::array();
  for (const ChatMessage& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  scope.set("messages", std::move(list));
  scope.set("bos_token", bos);
  scope.set("eos_token", eos);
  scope.set("add_generation_prompt", true);
  scope.set("tools", nullptr);
  scope.set("documents", nullptr);
  scope.set("strftime_now", true);  // that it is defined
  std::string out;
  scope.push();
  run(statements_, scope, out);
  return out;
}

std::vector<ChatMessage> read_chat(const std::string& text, const std::string& where) {
  std::vector<ChatMessage> messages;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  validate(first != std::string::npos, "{}: is empty; give a JSON list of turns", where);
  if (text[first] == '[' || nlohmann::json::accept(text)) {
    nlohmann::json json = io::parse_json(text, where);
    if (json.is_object() && json.contains("messages")) json = nlohmann::json(json["messages"]);
    if (json.is_object()) json = nlohmann::json::array({json});
    validate(json.is_array(), "{}: is no list of turns; give a JSON list of {{\"role\", \"content\"}}", where);
    for (const nlohmann::json& turn : json) messages.push_back(message_of(turn, where));
  } else {
    for (std::size_t at = 0, line = 1; at < text.size(); ++line) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string place = where + ", line " + std::to_string(line);
      if (text.find_first_not_of(" \t\r", at) < end) {
        messages.push_back(message_of(io::parse_json(std::string_view(text).substr(at, end - at), place), place));
      }
      at = end + 1;
    }
  }
  validate(!messages.empty(), "{}: has no turns; give at least one", where);
  return messages;
}

}  // namespace hack::model
