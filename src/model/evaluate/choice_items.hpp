#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::model {

/// A question of a multiple-choice task: a line of a JSONL file.
struct ChoiceItem {
  std::string task;
  std::string context;  ///< what stands before a choice; may be empty
  std::vector<std::string> choices;
  index_t answer;  ///< number of the right one, from 0
};

/// Reads a JSONL file, an object a line:
///
///     {"context": "…", "choices": ["…", "…"], "answer": 0, "task": "NAME"}
///
/// "question" is another name of "context". Without "task" an item belongs to `task`. Other keys and empty lines are
/// skipped. An Error names the line where something is missing or of another type.
std::vector<ChoiceItem> read_choice_items(std::string_view jsonl, const std::string& task);

/// A share of a task's items that were answered right, and its standard error; negative where one item has none.
struct ChoiceAccuracy {
  double value = 0;
  double standard_error = -1;
};

/// A task's figures in lm-evaluation-harness's definition: the model's answer is the choice of the largest
/// log-likelihood (acc), or of the largest one for each character (acc_norm) or byte (acc_bytes) of the choice.
struct ChoiceScore {
  std::string task;
  index_t items = 0;
  ChoiceAccuracy acc, acc_norm, acc_bytes;
};

/// The scores of all tasks, in the order in which they first come. `losses`: of the tokens of every choice, item after
/// item. Sums in fp64.
std::vector<ChoiceScore> score_choices(const std::vector<ChoiceItem>& items,
                                       const std::vector<std::vector<float>>& losses);

}  // namespace hack::model
