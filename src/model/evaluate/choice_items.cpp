#include "model/evaluate/choice_items.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/evaluate/python_text.hpp"
#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

using nlohmann::json;

/// A string of an object; an Error, naming the line, where it is another thing.
std::string text_of(const json& value, const char* what, index_t line) {
  validate(value.is_string(), "line {}: {} is no text; write it in quotes", line, what);
  return value.get<std::string>();
}

json parse_line(std::string_view text, index_t line) {
  json object = json::parse(text, nullptr, false);
  validate(!object.is_discarded() && object.is_object(),
           "line {} is no JSON object; a line is {{\"context\": \"…\", \"choices\": [\"…\", \"…\"], \"answer\": 0}}",
           line);
  return object;
}

ChoiceItem item_of(const json& object, const std::string& task, index_t line) {
  ChoiceItem item{task, {}, {}, 0};
  const auto context = object.contains("context") ? object.find("context") : object.find("question");
  validate(context != object.end(), "line {} has no \"context\"; write what stands before the choices", line);
  item.context = text_of(*context, "\"context\"", line);
  if (object.contains("task")) item.task = text_of(object["task"], "\"task\"", line);
  const auto choices = object.find("choices");
  validate(choices != object.end() && choices->is_array() && choices->size() >= 2,
           "line {} has no \"choices\"; give a list of two or more", line);
  for (const json& choice : *choices) {
    item.choices.push_back(text_of(choice, "a choice", line));
    validate(!item.choices.back().empty(), "line {}: a choice is empty; give it a text", line);
  }
  const auto answer = object.find("answer");
  const auto most = static_cast<std::int64_t>(item.choices.size()) - 1;
  const bool is_number = answer != object.end() && answer->is_number_integer();
  validate(is_number && answer->get<std::int64_t>() >= 0 && answer->get<std::int64_t>() <= most,
           "line {}: \"answer\" is no number of a choice; give one from 0 to {}", line, most);
  item.answer = answer->get<std::int64_t>();
  return item;
}

/// As numpy's argmax: the first of the largest.
index_t first_largest(const std::vector<double>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

/// The mean of 0 and 1 and its error from their spread over n - 1.
ChoiceAccuracy accuracy(index_t right, index_t items) {
  const auto n = static_cast<double>(items);
  const double mean = static_cast<double>(right) / n;
  if (items < 2) return {mean, -1};
  return {mean, std::sqrt(mean * (1 - mean) / (n - 1))};
}

}  // namespace

std::vector<ChoiceItem> read_choice_items(std::string_view jsonl, const std::string& task) {
  validate_utf8(jsonl, "the file");
  std::vector<ChoiceItem> items;
  for (index_t line = 1; !jsonl.empty(); ++line) {
    const std::size_t end = std::min(jsonl.find('\n'), jsonl.size());
    const std::string_view text = jsonl.substr(0, end);
    if (text.size() > trailing_space(text)) items.push_back(item_of(parse_line(text, line), task, line));
    jsonl.remove_prefix(std::min(end + 1, jsonl.size()));
  }
  validate(!items.empty(), "there is no item in it; write one a line");
  return items;
}

std::vector<ChoiceScore> score_choices(const std::vector<ChoiceItem>& items,
                                       const std::vector<std::vector<float>>& losses) {
  struct Right {
    index_t acc = 0, acc_norm = 0, acc_bytes = 0;
  };
  std::vector<ChoiceScore> scores;
  std::vector<Right> right;
  auto of_choice = losses.begin();
  for (const ChoiceItem& item : items) {
    std::vector<double> likelihoods, by_character, by_byte;
    for (const std::string& choice : item.choices) {
      const std::vector<float>& tokens = *of_choice++;
      likelihoods.push_back(-std::accumulate(tokens.begin(), tokens.end(), 0.0));
      by_character.push_back(likelihoods.back() / static_cast<double>(count_characters(choice)));
      by_byte.push_back(likelihoods.back() / static_cast<double>(choice.size()));
    }
    auto score = std::find_if(scores.begin(), scores.end(), [&](const ChoiceScore& s) { return s.task == item.task; });
    if (score == scores.end()) {
      score = scores.insert(score, {.task = item.task});
      right.emplace_back();
    }
    Right& counts = right[static_cast<std::size_t>(score - scores.begin())];
    ++score->items;
    counts.acc += first_largest(likelihoods) == item.answer;
    counts.acc_norm += first_largest(by_character) == item.answer;
    counts.acc_bytes += first_largest(by_byte) == item.answer;
  }
  HACK_EXPECT(of_choice == losses.end());
  for (std::size_t t = 0; t < scores.size(); ++t) {
    ChoiceScore& score = scores[t];
    score.acc = accuracy(right[t].acc, score.items);
    score.acc_norm = accuracy(right[t].acc_norm, score.items);
    score.acc_bytes = accuracy(right[t].acc_bytes, score.items);
  }
  return scores;
}

}  // namespace hack::model
