#include "comm/task_dealer.hpp"

#include <cstring>
#include <utility>

#include "comm/collective_timer.hpp"
#include "comm/deadline.hpp"
#include "comm/error.hpp"
#include "kernels/error.hpp"

namespace hack::comm {
namespace {

enum Tag : int { question_tag = 1, answer_tag, result_tag };

constexpr index_t all_dealt = -1;

}  // namespace

TaskDealer::TaskDealer(const Communicator& comm, std::deque<index_t> tasks, OnResult on_result)
    : comm_(comm),
      tasks_(std::move(tasks)),
      on_result_(std::move(on_result)),
      unfinished_ranks_(comm.is_root() ? comm.size() - 1 : 0),
      results_of_ranks_(comm.is_root() ? static_cast<std::size_t>(comm.size()) : 0) {
  deal_first_tasks();
}

/// Deals one task to every rank, so that all begin at once. If ranks had to ask for their first task too, a question
/// that comes after rank 0 has begun its own first task would wait until the end of that task.
void TaskDealer::deal_first_tasks() {
  std::vector<index_t> firsts;  // (ranks) on rank 0, whose own first task stays in the queue
  if (comm_.is_root()) {
    firsts.assign(static_cast<std::size_t>(comm_.size()), all_dealt);
    for (std::size_t r = 1; r < firsts.size(); ++r) {
      if (tasks_.size() < 2) {
        --unfinished_ranks_;
        continue;
      }
      firsts[r] = tasks_[1];
      tasks_.erase(tasks_.begin() + 1);
      ++open_tasks_;
    }
  }
  const Deadline::Wait waiting("MPI_Scatter of the first tasks");
  HACK_MPI(MPI_Scatter(firsts.data(), 1, MPI_INT64_T, &answer_, 1, MPI_INT64_T, 0, comm_.native()));
  asked_ = !comm_.is_root();
}

TaskDealer::~TaskDealer() {
  // After an exception the run ends, and messages on their way are never received: their requests are given up.
  for (MPI_Request* request : {&asking_, &answering_, &delivering_}) {
    if (*request != MPI_REQUEST_NULL) MPI_Request_free(request);
  }
}

void TaskDealer::wait(MPI_Request& request) const {
  const Deadline::Wait waiting("MPI_Wait for rank 0, which deals tasks");
  const CollectiveTimer::Wait timed;
  HACK_MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
}

/// The receive is posted before the question is sent, and both return at once: the answer travels while this rank goes
/// on with its task. At most one question is on its way, so answer_ has one writer.
void TaskDealer::ask() {
  if (comm_.is_root() || asked_) return;
  asked_ = true;
  HACK_MPI(MPI_Irecv(&answer_, 1, MPI_INT64_T, 0, answer_tag, comm_.native(), &answering_));
  HACK_MPI(MPI_Isend(nullptr, 0, MPI_BYTE, 0, question_tag, comm_.native(), &asking_));
}

std::optional<index_t> TaskDealer::next() {
  if (comm_.is_root()) {
    serve();
    if (tasks_.empty()) return std::nullopt;
    const index_t task = tasks_.front();
    tasks_.pop_front();
    return task;
  }
  ask();
  wait(answering_);
  wait(asking_);
  asked_ = false;
  if (answer_ == all_dealt) return std::nullopt;
  return answer_;
}

/// Takes one message, a question or a result. Invariant that ends finish(): each of the P - 1 other ranks hears
/// `all_dealt` exactly once, and every task dealt to another rank comes back as exactly one result; unfinished_ranks_
/// and open_tasks_ count what is missing. The answer is a blocking send of one number to a rank that has already posted
/// its receive, so rank 0 never waits here for a rank at work.
void TaskDealer::answer_one(const MPI_Status& status) {
  const int from = status.MPI_SOURCE;
  if (status.MPI_TAG == question_tag) {
    HACK_MPI(MPI_Recv(nullptr, 0, MPI_BYTE, from, question_tag, comm_.native(), MPI_STATUS_IGNORE));
    const index_t task = tasks_.empty() ? all_dealt : tasks_.front();
    if (task == all_dealt) {
      --unfinished_ranks_;
    } else {
      tasks_.pop_front();
      ++open_tasks_;
    }
    HACK_MPI(MPI_Send(&task, 1, MPI_INT64_T, from, answer_tag, comm_.native()));
    return;
  }
  int size = 0;
  HACK_MPI(MPI_Get_count(&status, MPI_BYTE, &size));
  std::vector<std::byte> message(static_cast<std::size_t>(size));
  HACK_MPI(MPI_Recv(message.data(), size, MPI_BYTE, from, result_tag, comm_.native(), MPI_STATUS_IGNORE));
  HACK_EXPECT(message.size() >= sizeof(index_t));
  index_t task = 0;
  std::memcpy(&task, message.data(), sizeof(task));
  --open_tasks_;
  ++results_of_ranks_[static_cast<std::size_t>(from)];
  on_result_(task, std::span(message).subspan(sizeof(task)));
}

void TaskDealer::serve() {
  if (!comm_.is_root()) return;
  for (;;) {
    int waits = 0;
    MPI_Status status;
    HACK_MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.native(), &waits, &status));
    if (!waits) return;
    answer_one(status);
  }
}

/// One result is on its way at a time: message_ must not change before its send is complete.
void TaskDealer::deliver(index_t task, std::vector<std::byte> result) {
  if (comm_.is_root()) {
    ++results_of_ranks_.front();
    return on_result_(task, result);
  }
  wait(delivering_);
  message_.resize(sizeof(task) + result.size());
  std::memcpy(message_.data(), &task, sizeof(task));
  if (!result.empty()) std::memcpy(message_.data() + sizeof(task), result.data(), result.size());
  HACK_MPI(MPI_Isend(message_.data(), static_cast<int>(message_.size()), MPI_BYTE, 0, result_tag, comm_.native(),
                     &delivering_));
}

void TaskDealer::finish() {
  wait(delivering_);
  while (unfinished_ranks_ > 0 || open_tasks_ > 0) {
    const Deadline::Wait waiting("MPI_Probe for the other ranks' tasks");
    const CollectiveTimer::Wait timed;
    MPI_Status status;
    HACK_MPI(MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.native(), &status));
    answer_one(status);
  }
}

}  // namespace hack::comm
