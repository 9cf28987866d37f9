#include "model/calibration/mlp_refinement.hpp"

#include <algorithm>
#include <memory>

#include "svd/pipeline/layer_codes.hpp"
#include "svd/refine/refinable_codes.hpp"
#include "svd/refine/refinable_factors.hpp"

namespace hack::model {
namespace {

/// A matrix as it is trained, and how it becomes what is stored.
template <Device D>
class Part {
 public:
  virtual ~Part() = default;
  virtual svd::RefinableMatrix<D>& trained() = 0;
  /// Takes the parameters over as of the last rebuild().
  virtual void finish() = 0;
};

template <Device D>
class FactorsPart : public Part<D> {
 public:
  FactorsPart(Queue<Device::cpu>& queue, Queue<D>& device, CompressedMatrix& part)
      : queue_(queue),
        device_(device),
        part_(part),
        trained_(
            {part.matrix.name, part.matrix.grid, part.matrix.choices, part.matrix.tiles, part.matrix.values_view()}) {}

  svd::RefinableMatrix<D>& trained() override { return trained_; }

  void finish() override {
    part_.matrix.tiles = trained_.factors(device_, {0, part_.matrix.grid.size()});
    part_.rebuilt = svd::rebuild(queue_, part_.matrix);
  }

 private:
  Queue<Device::cpu>& queue_;
  Queue<D>& device_;
  CompressedMatrix& part_;
  svd::RefinableFactors<D> trained_;
};

template <Device D>
class CodesPart : public Part<D> {
 public:
  CodesPart(const comm::Communicator& comm, Queue<D>& device, CompressedMatrix& part)
      : comm_(comm),
        device_(device),
        part_(part),
        trained_({part.matrix.grid, svd::BlockGrid(part.codec), svd::gather_rows(comm, *part.codes),
                  part.matrix.values_view()}) {}

  svd::RefinableMatrix<D>& trained() override { return trained_; }

  void finish() override {
    part_.codes = svd::own_part(comm_, part_.matrix, trained_.quantized());
    const HostView<float, D> numbers(device_, trained_.weights().data, part_.rebuilt.size());
    std::copy_n(numbers.data(), part_.rebuilt.size(), part_.rebuilt.data());
  }

 private:
  const comm::Communicator& comm_;
  Queue<D>& device_;
  CompressedMatrix& part_;
  svd::RefinableCodes<D> trained_;
};

}  // namespace

template <Device D>
svd::RefineReport refine_mlp(const comm::Communicator& comm, Queue<Device::cpu>& queue, Queue<D>& device,
                             LayerwisePass<D>& pass, const svd::RefineOptions& options, const CompressedMlp& mlp) {
  const auto train = [&](CompressedMatrix& part) -> std::unique_ptr<Part<D>> {
    if (part.codes) return std::make_unique<CodesPart<D>>(comm, device, part);
    return std::make_unique<FactorsPart<D>>(queue, device, part);
  };
  const auto gate = train(mlp.gate), up = train(mlp.up), down = train(mlp.down);
  const Buffer<float> inputs = pass.mlp_inputs(), targets = pass.mlp_targets();
  const index_t hidden = mlp.gate.matrix.grid.cols();
  svd::RefineOptions settled = options;
  // A code's step changes f(x) by next to nothing, and so small are gradients: Adam's usual 1e-8 would be above many.
  if (mlp.gate.codes) settled.epsilon = 1e-12;
  svd::MlpRefiner<D> refiner(gate->trained(), up->trained(), down->trained(), settled);
  const svd::RefineReport report = refiner.refine(comm, device, {inputs.data(), pass.tokens(), hidden},
                                                  {targets.data(), pass.tokens(), hidden}, pass.token_weights());
  for (const auto& part : {gate.get(), up.get(), down.get()}) part->finish();
  for (const CompressedMatrix* part : {&mlp.gate, &mlp.up, &mlp.down}) pass.replace(*part->linear, part->values());
  return report;
}

template svd::RefineReport refine_mlp(const comm::Communicator&, Queue<Device::cpu>&, Queue<Device::cpu>&,
                                      LayerwisePass<Device::cpu>&, const svd::RefineOptions&, const CompressedMlp&);
template svd::RefineReport refine_mlp(const comm::Communicator&, Queue<Device::cpu>&, Queue<Device::cuda>&,
                                      LayerwisePass<Device::cuda>&, const svd::RefineOptions&, const CompressedMlp&);

}  // namespace hack::model
