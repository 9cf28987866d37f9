#include "model/evaluate/choice_requests.hpp"

#include <algorithm>

#include "kernels/error.hpp"
#include "model/evaluate/python_text.hpp"

namespace hack::model {
namespace {

/// What stands between context and choice.
constexpr const char* target_delimiter = " ";

constexpr Protocol choice_protocol = {.name = "multiple choice",
                                      .windows = "one a choice",
                                      .scored_tokens = "the choice",
                                      .context = 0,
                                      .stride = 0,
                                      .tail = Tail::shorter,
                                      .scored = Scored::fresh,
                                      .weighting = Weighting::by_token,
                                      .bos = BosRule::once};

/// A context and what follows it, in tokens.
struct EncodedChoice {
  std::vector<int> ids;
  index_t context;  ///< of these
};

class ChoiceEncoder {
 public:
  explicit ChoiceEncoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  EncodedChoice encode(const std::string& context, const std::string& choice) const {
    const std::string before = context.substr(0, context.size() - trailing_space(context));
    const std::string whole = context + target_delimiter + choice;
    if (before.empty()) return behind_start(whole);
    EncodedChoice out{with_bos(whole), std::ssize(with_bos(before))};
    out.context = std::min(out.context, std::ssize(out.ids));
    return out;
  }

 private:
  std::vector<int> with_bos(const std::string& text) const {
    std::vector<int> ids = tokenizer_.encode(text, AddSpecial::no);
    if (tokenizer_.bos()) ids.insert(ids.begin(), *tokenizer_.bos());
    return ids;
  }

  EncodedChoice behind_start(const std::string& choice) const {
    const std::optional<int> start = tokenizer_.start();
    validate(start.has_value(),
             "its context is empty, and the model's tokenizer names no token that begins or ends a text; give it a "
             "context");
    EncodedChoice out{tokenizer_.encode(choice, AddSpecial::no), 1};
    out.ids.insert(out.ids.begin(), *start);
    return out;
  }

  const Tokenizer& tokenizer_;
};

}  // namespace

ChoiceRequests encode_choices(const std::vector<ChoiceItem>& items, const Tokenizer& tokenizer, index_t context) {
  const ChoiceEncoder encoder(tokenizer);
  ChoiceRequests out{.ids = {}, .plan = {choice_protocol, 0, 0, {}}};
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (const std::string& choice : items[i].choices) {
      const auto fails = [&](const char* why) { fail("item {}: choice '{}' {}", i + 1, choice, why); };
      EncodedChoice encoded{};
      try {
        encoded = encoder.encode(items[i].context, choice);
      } catch (const Error& error) {
        fail("item {}: {}", i + 1, error.what());
      }
      const index_t scored = std::ssize(encoded.ids) - encoded.context;
      if (scored == 0) fails("leaves no token behind its context; word one of them otherwise");
      if (scored > context) fails("is longer than the context; raise it");
      const index_t lost = std::max<index_t>(0, std::ssize(encoded.ids) - (context + 1));
      out.truncated += lost > 0;
      const index_t begin = std::ssize(out.ids);
      out.ids.insert(out.ids.end(), encoded.ids.begin() + lost, encoded.ids.end());
      const Window window{begin, std::ssize(out.ids), encoded.context - lost};
      out.plan.windows.push_back(window);
      out.plan.context = std::max(out.plan.context, window.size() - 1);
    }
  }
  out.plan.stride = out.plan.context;
  return out;
}

}  // namespace hack::model
