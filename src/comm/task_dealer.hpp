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

/// Deals numbered tasks to ranks as the ranks get free, so that a fast rank does more tasks than a slow one, and hands
/// the results to rank 0 as they come: list scheduling, which on equal ranks ends at most (2 - 1 / P) times as
/// late as the best possible schedule (Graham 1966). Rank 0 works too, and answers the other ranks whenever it calls
/// one of these functions:
///
///     rank 0   works on 0 … serve … serve | works on 3 …          results 0 1 2 … in the order they finish
///     rank 1   works on 1 … ask     … deliver 1 | next: 4 | …
///     rank 2   works on 2 … ask         … deliver 2 | next: 5 | …
///
/// The first tasks are dealt before any rank begins. A rank that asks before its task is done has the answer by the
/// time the task is done.
class TaskDealer {
 public:
  using OnResult = std::function<void(index_t task, std::span<const std::byte> result)>;

  /// `tasks`, in the order of dealing, and `on_result` are used on rank 0 alone; `comm` outlives this. Collective.
  TaskDealer(const Communicator& comm, std::deque<index_t> tasks, OnResult on_result);
  ~TaskDealer();
  TaskDealer(const TaskDealer&) = delete;
  TaskDealer& operator=(const TaskDealer&) = delete;

  /// Returns this rank's next task; nothing once all tasks are dealt.
  std::optional<index_t> next();

  /// Called between two pieces of a task: rank 0 answers the ranks that have asked.
  void serve();
  /// Called shortly before the end of a task: asks for the next task.
  void ask();

  /// Hands over the result of this rank's task.
  void deliver(index_t task, std::vector<std::byte> result);

  /// How many results of each rank have come, on rank 0.
  std::span<const index_t> results_of_ranks() const { return results_of_ranks_; }

  /// Returns when, on rank 0, all results have come, and elsewhere all of this rank's have gone.
  void finish();

 private:
  void deal_first_tasks();
  void answer_one(const MPI_Status& status);
  void wait(MPI_Request& request) const;

  const Communicator& comm_;
  std::deque<index_t> tasks_;
  OnResult on_result_;
  // On rank 0: ranks that have not yet heard that all tasks are dealt, and tasks of other ranks without a result so
  // far.
  int unfinished_ranks_ = 0;
  index_t open_tasks_ = 0;
  std::vector<index_t> results_of_ranks_;
  // On the other ranks: the question on its way, its answer, and the last result.
  bool asked_ = false;
  index_t answer_ = 0;
  MPI_Request asking_ = MPI_REQUEST_NULL;
  MPI_Request answering_ = MPI_REQUEST_NULL;
  MPI_Request delivering_ = MPI_REQUEST_NULL;
  std::vector<std::byte> message_;
};

}  // namespace hack::comm
