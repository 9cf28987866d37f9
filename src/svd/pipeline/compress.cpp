#include "svd/pipeline/compress.hpp"

#include <algorithm>
#include <future>
#include <memory>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/archive/part_record.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/pipeline/phase_clock.hpp"
#include "svd/pipeline/plain_fit.hpp"

namespace hack::svd {
namespace {

/// A step on its way.
struct Flight {
  std::unique_ptr<FitStep> step;
  StepMemory memory;
  index_t number = 0;
  std::vector<MatrixPart> parts;  // this rank's, for the journal
  StepReport report;
  std::future<void> reading;  // uses the step: ends before it

  /// What a journal keeps; `parts` and `report` do not change as long as it is in use.
  void put_into(io::PieceWriter& record) const {
    record.put(std::ssize(parts));
    for (const MatrixPart& part : parts) put_part(record, part);
    for (const CompressionSummary& summary : report.matrices) put_summary(record, summary);
    record.put(report.weighted);
    record.put_rows(report.refined, &RefineReport::loss_before, &RefineReport::loss_after, &RefineReport::best_step);
  }
  void take_from(const std::string& bytes) {
    io::ByteReader record(bytes);
    const auto matrices = record.get<std::ptrdiff_t>();
    for (std::ptrdiff_t m = 0; m < matrices; ++m) parts.push_back(get_part(record));
    for (std::ptrdiff_t m = 0; m < matrices; ++m) report.matrices.push_back(get_summary(record));
    report.weighted = record.get_vector<WeightedSummary>();
    report.refined = record.get_vector<RefineReport>();
  }
};

/// Takes something up from a journal; what is impossible about it names the journal.
template <class F>
void take_up(const comm::Journal& journal, F take) {
  try {
    take();
  } catch (const comm::ResumeError&) {
    throw;
  } catch (const Error& error) {
    fail("cannot resume from {} ({}); begin anew", journal.folder().string(), error.what());
  }
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// The loop over the steps of a fit.
class Pipeline {
 public:
  Pipeline(const comm::Communicator& comm, Fit& fit, const Destination& to)
      : comm_(comm),
        fit_(fit),
        to_(to),
        recorded_(to.journal == nullptr ? 0 : to.journal->steps()),
        clock_(comm),
        writer_(comm, to.output, {to.header, fit.storage()}) {}

  CompressReport run() {
    if (recorded_ > 0) {
      clock_.measure_together("archive",
                              [&] { take_up(*to_.journal, [&] { fit_.resume(recorded_, to_.journal->state()); }); });
    }
    for (step_ = start_next(); step_; step_ = std::move(next_)) {
      if (step_->number < recorded_) {
        replay(*step_);
      } else {
        make(*step_);
        record(*step_);
        find_slowest();
      }
      done_ += step_->step->size();
      if (step_->number >= recorded_) tell_progress(done_);
      add_to_report(step_->report);
      last_ = std::move(step_);
    }
    finish_recording();
    clock_.measure("archive", [&] {
      fit_.finish();
      writer_.finish();
    });
    return finish_report();
  }

 private:
  /// Takes the next step from the fit, and begins to read what it needs.
  std::unique_ptr<Flight> start_next() {
    std::unique_ptr<FitStep> step = fit_.next();
    if (!step) return nullptr;
    auto flight = std::make_unique<Flight>();
    flight->memory = step->memory();
    flight->number = begun_++;
    flight->step = std::move(step);
    if (flight->number < recorded_) return flight;
    if (auto reading = flight->step->reading()) {
      flight->reading = std::async(std::launch::async, std::move(reading));
    }
    return flight;
  }

  void make(Flight& flight) {
    if (flight.reading.valid()) clock_.measure_together("reading", [&] { flight.reading.get(); });
    next_ = start_next();
    note_memory();
    const auto tell = [&](double share) {
      tell_progress(done_ + static_cast<index_t>(share * static_cast<double>(flight.step->size())));
    };
    StepOutput output(writer_, clock_, tell, to_.journal != nullptr);
    flight.step->make(output);
    measures_idle_ = measures_idle_ || output.measures_idle();
    flight.parts = output.take_parts();
    flight.report = std::move(output.report());
  }

  void replay(Flight& flight) {
    clock_.measure_together(
        "archive", [&] { take_up(*to_.journal, [&] { flight.take_from(to_.journal->record(flight.number)); }); });
    clock_.measure("archive", [&] {
      for (const MatrixPart& part : flight.parts) writer_.write(part);
    });
    next_ = start_next();
  }

  void record(Flight& flight) {
    if (to_.journal == nullptr) return;
    finish_recording();
    const comm::Journal::Pieces state = flight.step->state();
    recording_ = std::async(std::launch::async, [this, &flight, state] {
      io::PieceWriter record;
      flight.put_into(record);
      to_.journal->append(record.pieces(), state);
    });
    if (!state.empty()) finish_recording();  // the next step changes it
  }

  void finish_recording() {
    clock_.measure_together("archive", [&] {
      if (recording_.valid()) recording_.get();
    });
  }

  void note_memory() {
    const auto memory_of = [](const std::unique_ptr<Flight>& flight) { return flight ? flight->memory : StepMemory(); };
    report_.memory = std::max(report_.memory, bytes_held(memory_of(last_), memory_of(step_), memory_of(next_)));
    report_.gpu_memory = std::max(report_.gpu_memory, step_->memory.gpu);
  }

  void tell_progress(index_t done) {
    if (to_.progress && done > told_) to_.progress(done, fit_.size(), slowest_);
    told_ = std::max(told_, done);
  }

  void find_slowest() {
    if (!measures_idle_ || !to_.progress || comm_.size() == 1) return;
    const double own = clock_.waited();
    const std::vector<double> waited = comm::all_gather(comm_, std::span<const double>(&own, 1));
    const auto [least, most] = std::minmax_element(waited.begin(), waited.end());
    slowest_.reset();
    if (*most - *least > 0.02 * clock_.since_start()) slowest_ = static_cast<int>(least - waited.begin());
  }

  void add_to_report(const StepReport& step) {
    append(report_.matrices, step.matrices);
    append(report_.weighted, step.weighted);
    append(report_.refined, step.refined);
  }

  CompressReport finish_report() {
    report_.total = total_of(report_.matrices);
    report_.phases = clock_.slowest();
    const double idle = clock_.waited() / clock_.since_start();
    if (measures_idle_) report_.idle_shares = comm::all_gather(comm_, std::span<const double>(&idle, 1));
    return std::move(report_);
  }

  const comm::Communicator& comm_;
  Fit& fit_;
  const Destination& to_;
  index_t recorded_;  // steps in the journal
  PhaseClock clock_;
  FactorArchiveWriter writer_;
  CompressReport report_;
  bool measures_idle_ = false;
  index_t begun_ = 0;  // steps
  index_t done_ = 0;   // of the fit's size
  index_t told_ = 0;
  std::optional<int> slowest_;  // rank
  // The thread that writes to the journal uses one of the first two: they outlive it.
  std::unique_ptr<Flight> last_, step_, next_;
  std::future<void> recording_;
};

}  // namespace

CompressReport compress(const comm::Communicator& comm, Fit& fit, const Destination& to) {
  check_rank_rule(fit.storage().rule);
  return Pipeline(comm, fit, to).run();
}

template <Device D>
CompressReport compress(const comm::Communicator& comm, Queue<D>& queue, std::span<const MatrixSource> sources,
                        const CompressOptions& options, const Destination& to, index_t memory) {
  PlainFit<D> fit(comm, queue, {sources.begin(), sources.end()}, options, memory);
  return compress(comm, fit, to);
}

#define HACK_INSTANTIATE(D)                                                                             \
  template CompressReport compress(const comm::Communicator&, Queue<D>&, std::span<const MatrixSource>, \
                                   const CompressOptions&, const Destination&, index_t);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::svd
