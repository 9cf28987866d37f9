#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/dtype.hpp"

namespace hack::comm {

/// Deals numbered tasks to ranks as they get free, so that a fast rank does more of them than a slow one, and hands
/// the results to rank 0 as they come. Rank 0 works too, and answers the others whenever it calls one of these:
///
///     rank 0   works on 0 … serve … serve | works on 3 …          results 0 1 2 … in the order they finish
///     rank 1   works on 1 … ask     … deliver 1 | next: 4 | …
///     rank 2   works on 2 … ask         … deliver 2 | next: 5 | …
///
/// The first tasks are dealt before anybody begins. A rank that asks before its task is done finds the answer when it
/// is.
class TaskDealer {
 public:
  using OnResult = std::function<void(index_t task, std::span<const std::byte> result)>;

  /// `tasks` in the order they are dealt and `on_result` count on rank 0 alone; `comm` outlives this. Collective.
  TaskDealer(const Communicator& comm, std::deque<index_t> tasks, OnResult on_result);
  ~TaskDealer();
  TaskDealer(const TaskDealer&) = delete;
  TaskDealer& operator=(const TaskDealer&) = delete;

  /// This rank's next task; nothing once all are dealt.
  std::optional<index_t> next();

  /// Between two pieces of a task: rank 0 answers whoever has asked.
  void serve();
  /// Shortly before the end of a task: asks for the next one.
  void ask();

  /// Hands over the result of this rank's task.
  void deliver(index_t task, std::vector<std::byte> result);

  /// Returns when, on rank 0, all results have come, and elsewhere all of this rank's have gone.
  void finish();

 private:
  void deal_first_tasks();
  void answer_one(const MPI_Status& status);
  void wait(MPI_Request& request) const;

  const Communicator& comm_;
  std::deque<index_t> tasks_;
  OnResult on_result_;
  // Of rank 0: ranks that are still to hear that all is dealt, and tasks of others whose results are to come.
  int unfinished_ranks_ = 0;
  index_t open_tasks_ = 0;
  // Of the others: the question on its way, its answer, and the last result.
  bool asked_ = false;
  index_t answer_ = 0;
  MPI_Request asking_ = MPI_REQUEST_NULL;
  MPI_Request answering_ = MPI_REQUEST_NULL;
  MPI_Request delivering_ = MPI_REQUEST_NULL;
  std::vector<std::byte> message_;
};

}  // namespace hack::comm
