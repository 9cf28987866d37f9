// Multiple-choice questions, conversations, and the templates that write conversations out. The first byte of an input
// chooses. What these readers say is put behind the name of the file by the commands.

#include "model/chat/chat_template.hpp"
#include "model/evaluate/choice_items.hpp"
#include "tests/fuzz/fuzz_target.hpp"

namespace hack::fuzz {
namespace {

const std::string chat =
    R"([{"role":"system","content":"be short"},{"role":"user","content":"hello"},{"role":"assistant","content":"yes"}])";

const std::string chat_template =
    R"({% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<s>' }}{% endif %})"
    R"({{ '<|' + message['role'] + '|>\n' + message.content | trim }}{% endfor %})"
    R"({% set x = messages | length %}{% if add_generation_prompt %}{{ bos_token ~ x }}{% endif %})";

std::vector<std::string> seeds() {
  const std::string item = R"({"context":"a","choices":["b","c"],"answer":1,"task":"t"})";
  return {'\0' + item + "\n\n" + R"({"question":"caf\u00e9","choices":["x","y","z"],"answer":0})" + "\n",
          '\0' + ("{\"context\":" + std::string(50000, '[') + std::string(50000, ']') + "}"),
          '\0' + std::string(R"({"context":"a","choices":["b",1],"answer":-1})"),
          '\1' + chat,
          '\1' + ("{\"messages\":" + chat + "}"),
          '\1' + std::string("{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"user\",\"content\":\"b\"}\n"),
          '\1' + std::string(100000, '['),
          '\1' + (std::string(50000, '[') + std::string(50000, ']')),
          '\2' + chat_template,
          '\2' + ("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}"),
          '\2' + std::string("{{ raise_exception('no') }}{% if not x is defined %}{{ messages[5] }}{% endif %}")};
}

/// An Error is what it may say.
template <class F>
void expect_error_or_none(F read) {
  try {
    read();
    note_outcome("accepted");
  } catch (const Error& error) {
    if (std::string_view(error.what()).empty()) report_finding("an Error that says nothing");
    note_outcome(error.what());
  }
}

void read(std::string_view bytes) {
  if (bytes.empty()) return;
  const std::string content(bytes.substr(1));
  switch (bytes.front() % 3) {
    case 0:
      return expect_error_or_none([&] { model::read_choice_items(content, "task"); });
    case 1:
      accepts("turns.json", [&] { model::read_chat(content, "turns.json"); });
      return;
    default:
      expect_error_or_none([&] {
        const std::vector<model::ChatMessage> turns = model::read_chat(chat, "turns");
        model::ChatTemplate(content).write(turns, "<s>", "</s>");
      });
  }
}

}  // namespace

const Target& target() {
  static const Target here{"turns", seeds, read};
  return here;
}

}  // namespace hack::fuzz
