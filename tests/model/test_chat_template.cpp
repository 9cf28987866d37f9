// Chat templates: what transformers writes for the same turns.

#include "model/chat/chat_template.hpp"

#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

const std::vector<ChatMessage> talk = {
    {"system", "Be short. "}, {"user", "1+1?"}, {"assistant", " 2"}, {"user", "And 中?"}};

std::string write(const std::string& source, const std::vector<ChatMessage>& messages = talk) {
  return ChatTemplate(source).write(messages, "<s>", "</s>");
}

std::string error_of(const std::string& source, const std::vector<ChatMessage>& messages = talk) {
  try {
    write(source, messages);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ChatTemplate, WritesChatMl) {
  EXPECT_EQ(write("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
                  "{{ '<|im_start|>system\\nYou help<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + "
                  "'\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
                  "{{ '<|im_start|>assistant\\n' }}{% endif %}",
                  {{"user", "Hi"}}),
            "<|im_start|>system\nYou help<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, WritesLlama2) {
  const std::string source =
      "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
      "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
      "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
      "{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}"
      "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
      "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
      "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
      "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
  EXPECT_EQ(write(source), "<s>[INST] <<SYS>>\nBe short. \n<</SYS>>\n\n1+1? [/INST] 2 </s><s>[INST] And 中? [/INST]");
  EXPECT_NE(error_of(source, {{"assistant", "x"}}).find("refuses these turns (roles must alternate)"),
            std::string::npos);
}

TEST(ChatTemplate, WritesLlama3AndZephyr) {
  EXPECT_EQ(write("{{- bos_token }}\n{%- for message in messages %}\n    {{- '<|start_header_id|>' + message['role'] + "
                  "'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n"
                  "{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
                  "{%- endif %}\n",
                  {{"user", " Hi "}}),
            "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
            "<|end_header_id|>\n\n");
  EXPECT_EQ(write("{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + "
                  "message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
                  "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
                  {{"user", "Hi"}}),
            "<|user|>\nHi</s>\n<|assistant|>\n");
}

TEST(ChatTemplate, KnowsExpressions) {
  EXPECT_EQ(write("{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -5 // 2 }} {{ 7 % 4 }} {{ 1 ~ 2 }}"), "7 3 -3 3 12");
  EXPECT_EQ(write("{{ 'a' in 'abc' and 'b' not in ['a'] }} {{ not none }} {{ nothing or 'else' }}"), "True True else");
  EXPECT_EQ(write("{{ messages[-1]['content'][:3] }} {{ messages[::-1][0].role }} {{ messages | length }}"),
            "And user 4");
  EXPECT_EQ(write("{{ x is defined }} {{ x is not defined }} {{ tools is none }} {{ 'a' is string }}"),
            "False True True True");
  EXPECT_EQ(write("{{ {'a': [1, 'b', none, true]} | tojson }}"), R"({"a": [1, "b", null, true]})");
  EXPECT_EQ(write("{{ 'a,b,,c'.split(',')[-1] }}{{ ' x '.strip() }}{{ 'ab'.startswith('a') }}{{ 'ab' | upper }}"),
            "cxTrueAB");
  EXPECT_EQ(write("{{ (messages | selectattr('role', 'equalto', 'user') | list)[-1].content }}"), "And 中?");
}

TEST(ChatTemplate, KnowsStatements) {
  EXPECT_EQ(write("{% set ns = namespace(n=0) %}{% for m in messages if m.role == 'user' %}{% set ns.n = ns.n + 1 %}"
                  "{{ loop.index }}{{ '' if loop.last else ',' }}{% endfor %} {{ ns.n }}"),
            "1,2 2");
  EXPECT_EQ(write("{% set x = 1 %}{% for i in range(3) %}{% set x = i %}{% endfor %}{{ x }}"), "1")
      << "a loop's variables end with it";
  EXPECT_EQ(write("{% for k, v in {'p': 1, 'q': 2}.items() %}{{ k }}={{ v }};{% endfor %}"), "p=1;q=2;");
  EXPECT_EQ(write("{% set y %}<{{ 1 }}>{% endset %}{{ y }}{# no {{ word }} #}"), "<1>");
}

TEST(ChatTemplate, TakesWhiteSpaceAwayAsTransformersDoes) {
  EXPECT_EQ(write("  {% if true %}\n  a {{ 1 }}  \n    {% endif %}  b\n {%- set z = 1 -%}  \n c\n"), "  a 1  \n  bc");
  EXPECT_EQ(write("x {%+ if true %}y{% endif +%}\nz"), "x y\nz");
}

TEST(ChatTemplate, NamesWhatItDoesNotKnow) {
  EXPECT_NE(error_of("{% macro f(x) %}{% endmacro %}").find("'macro'"), std::string::npos);
  EXPECT_NE(error_of("{{ messages | groupby }}").find("'groupby'"), std::string::npos);
  EXPECT_NE(error_of("{{ ''.format(1) }}").find("'format'"), std::string::npos);
  EXPECT_NE(error_of("{{ lipsum() }}").find("'lipsum'"), std::string::npos);
  for (const char* damaged : {"{{ 'a", "{{ a", "{% if a %}", "{% endfor %}", "{{ a b }}", "{{ }}", "{# x", "{% for %}",
                              "{{ a[1 }}", "{{ f(1 }}", "{% for x in 5 %}{% endfor %}", "{{ nothing.a.b }}"}) {
    EXPECT_NE(error_of(damaged).find("the chat template"), std::string::npos) << damaged;
  }
  const std::string deep = "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}";
  EXPECT_NE(error_of(deep).find("nested"), std::string::npos);
  EXPECT_NE(
      error_of("{% for a in range(2000) %}{% for b in range(2000) %}{{ a }}{% endfor %}{% endfor %}").find("steps"),
      std::string::npos);
}

TEST(ReadChat, TakesListsObjectsAndLines) {
  for (const char* text :
       {R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])",
        R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})",
        "{\"role\": \"user\", \"content\": \"a\"}\n\n{\"role\": \"assistant\", \"content\": \"b\"}\n"}) {
    const std::vector<ChatMessage> turns = read_chat(text, "file");
    ASSERT_EQ(turns.size(), 2u) << text;
    EXPECT_EQ(turns[1].role + turns[1].content, "assistantb");
  }
  for (const char* text : {"", "[]", "{}", "7", "[7]", R"([{"role": "user"}])", R"([{"role": 1, "content": "a"}])",
                           "{\"role\": \"user\", \"content\": \"a\"}\n{"}) {
    EXPECT_THROW(read_chat(text, "file"), Error) << text;
  }
}

}  // namespace
}  // namespace hack::model
