#include "svd/pipeline/plain_fit.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/pipeline/tile_batch.hpp"
#include "svd/pipeline/tile_deal.hpp"

namespace hack::svd {
namespace {

/// Of a batch, for each rank, where memory does not ask for less: 128 tiles of 128 × 128, so that a killed run loses
/// little.
constexpr index_t batch_numbers = index_t{1} << 21;

void check_sources(std::span<const MatrixSource> sources) {
  std::set<std::string_view> names;
  for (const MatrixSource& source : sources) {
    validate(names.insert(source.name).second, "matrix {} is given twice", source.name);
  }
}

}  // namespace

/// Consecutive matrices, and this rank's tiles of them.
template <Device D>
class PlainFit<D>::Batch : public FitStep {
 public:
  Batch(PlainFit& fit, std::span<const MatrixSource> sources, std::vector<TileGrid> grids,
        const std::vector<Range>& dealt)
      : fit_(fit),
        sources_(sources),
        grids_(std::move(grids)),
        memory_(memory_of(fit.options_, grids_, dealt, D, fit.queue_.threads())) {
    tiles_.emplace(sources, fit.options_, dealt[static_cast<std::size_t>(fit.comm_.rank())], fit.queue_.threads());
  }

  index_t size() const override {
    index_t tiles = 0;
    for (const TileGrid& grid : grids_) tiles += grid.size();
    return tiles;
  }

  StepMemory memory() const override { return memory_; }

  std::function<void()> reading() override {
    return [this] { tiles_->read(); };
  }

  void make(StepOutput& output) override {
    const double before = output.seconds("factors"), cost = tiles_->cost();
    output.measure_share(
        "factors", [&] { tiles_->find_spectra(fit_.queue_, [&](double share) { output.tell_progress(share); }); });
    output.measure("factors", [&] { tiles_->choose(fit_.comm_); });
    std::vector<MatrixPart> parts;
    output.measure_share("factors", [&] { parts = tiles_->encode(fit_.queue_); });
    for (std::size_t m = 0; m < parts.size(); ++m) {
      output.report().matrices.push_back(
          summarize(sources_[m].name, grids_[m], tiles_->choices(m), fit_.options_.codec));
    }
    tiles_.reset();
    fit_.balance(cost, output.seconds("factors") - before);
    for (MatrixPart& part : parts) output.write(std::move(part));
  }

 private:
  PlainFit& fit_;
  std::span<const MatrixSource> sources_;
  std::vector<TileGrid> grids_;
  StepMemory memory_;
  std::optional<TileBatch<D>> tiles_;  // until they are made
};

template <Device D>
PlainFit<D>::PlainFit(const comm::Communicator& comm, Queue<D>& queue, std::vector<MatrixSource> sources,
                      const CompressOptions& options, index_t memory)
    : comm_(comm),
      queue_(queue),
      sources_(std::move(sources)),
      options_(options),
      memory_(memory),
      shares_(static_cast<std::size_t>(comm.size()), 1.0 / comm.size()) {
  check_sources(sources_);
  for (const MatrixSource& source : sources_) tiles_ += options_.grid(source.rows, source.cols).size();
}

/// Which matrices are in a batch does not depend on measured shares, only who gets which of their tiles does.
template <Device D>
std::unique_ptr<FitStep> PlainFit<D>::next() {
  if (first_ == sources_.size()) return nullptr;
  std::vector<TileGrid> grids;
  index_t numbers = 0;
  for (std::size_t s = first_; s < sources_.size(); ++s) {
    const MatrixSource& source = sources_[s];
    grids.push_back(options_.grid(source.rows, source.cols));
    numbers += source.rows * source.cols;
    // A rank holds whole matrices in mode full: as many as there are ranks take no more than one.
    const bool is_small = numbers <= batch_numbers * comm_.size() ||
                          (options_.mode == TileMode::full && std::ssize(grids) <= comm_.size());
    const bool fits = fits_memory(grids, source);
    if (s > first_ && !(is_small && fits)) {
      grids.pop_back();
      break;
    }
  }
  const std::size_t count = grids.size();
  const std::vector<Range> dealt = deal_tiles(grids, shares_);
  auto batch = std::make_unique<Batch>(*this, std::span(sources_).subspan(first_, count), std::move(grids), dealt);
  first_ += count;
  return batch;
}

/// Whether a batch of these matrices, between others like it, takes no more memory than it may; `last` is the last of
/// them.
template <Device D>
bool PlainFit<D>::fits_memory(const std::vector<TileGrid>& grids, const MatrixSource& last) const {
  if (memory_ == 0) return true;
  const std::vector<double> even(shares_.size(), 1.0);
  const StepMemory need = memory_of(options_, grids, deal_tiles(grids, even), D, queue_.threads());
  const index_t bytes = std::max(bytes_held(need, need, need), need.gpu);
  // What a rank gets beyond an even share.
  const auto most = comm_.size() == 1 ? bytes : static_cast<index_t>(largest_share * static_cast<double>(bytes));
  if (grids.size() == 1 && most > memory_) {
    throw MemoryError(fmt::format(
        "{} takes {:.1f} MiB{} on each of {} ranks, of {:.1f} MiB that are left beside what the program takes; give "
        "more memory or more ranks",
        last.name, static_cast<double>(most) / 0x1p20, need.gpu == bytes ? " of the GPU's" : "", comm_.size(),
        static_cast<double>(memory_) / 0x1p20));
  }
  return most <= memory_;
}

template <Device D>
void PlainFit<D>::balance(double cost, double seconds) {
  const std::vector<double> costs = comm::all_gather(comm_, std::span<const double>(&cost, 1));
  const std::vector<double> times = comm::all_gather(comm_, std::span<const double>(&seconds, 1));
  shares_ = balanced_shares(shares_, costs, times);
}

template class PlainFit<Device::cpu>;
template class PlainFit<Device::cuda>;

}  // namespace hack::svd
