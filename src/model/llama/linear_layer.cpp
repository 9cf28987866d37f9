#include "model/llama/linear_layer.hpp"

#include <algorithm>
#include <vector>

#include "model/llama/phase_timer.hpp"

namespace hack::model {

namespace {

/// Some rows of a matrix on the host, on their way to where they are held.
class RowPanel {
 public:
  RowPanel(const Checkpoint& checkpoint, const std::string& name, svd::Range cols, Codec codec)
      : checkpoint_(checkpoint), name_(name), cols_(cols), codec_(codec), is_copied_(checkpoint.codec(name) == codec) {}

  /// Reads rows; what is not stored in the codec, which then has no scales, is converted.
  void read(svd::Range rows) {
    codes_.resize(static_cast<std::size_t>(rows.size() * code_bytes(codec_, cols_.size())));
    scales_.resize(static_cast<std::size_t>(rows.size() * scale_bytes(codec_, cols_.size())));
    if (is_copied_) return checkpoint_.read_encoded(name_, rows, cols_, codes_.data(), scales_.data());
    const index_t numbers = rows.size() * cols_.size();
    wide_.resize(static_cast<std::size_t>(numbers));
    checkpoint_.read(name_, rows.begin, cols_.begin, MatrixView<float>(wide_.data(), rows.size(), cols_.size()));
    convert(wide_.data(), DType::f32, codes_.data(), plain_type(codec_), numbers);
  }

  const std::vector<std::byte>& codes() const { return codes_; }
  const std::vector<std::byte>& scales() const { return scales_; }

 private:
  const Checkpoint& checkpoint_;
  const std::string& name_;
  svd::Range cols_;
  Codec codec_;
  bool is_copied_;
  std::vector<float> wide_;
  std::vector<std::byte> codes_, scales_;
};

}  // namespace

Codec held_codec(const Checkpoint& checkpoint, const std::string& name, svd::Range cols, HeldType type) {
  if (type) return codec_of(*type);
  const Codec plain = codec_of(checkpoint.exact_type()), codec = checkpoint.codec(name).value_or(plain);
  const index_t block = std::max<index_t>(1, spec_of(codec).block);
  return cols.begin % block == 0 && cols.end % block == 0 ? codec : plain;
}

template <Device D>
WeightMatrix<D> read_weights(const Checkpoint& checkpoint, const std::string& name, svd::Range rows, svd::Range cols,
                             HeldType type) {
  constexpr index_t panel_rows = 256;
  const Codec codec = held_codec(checkpoint, name, cols, type);
  WeightMatrix<D> matrix(rows.size(), cols.size(), codec);
  RowPanel panel(checkpoint, name, cols, codec);
  for (index_t i = 0; i < rows.size() && cols.size() > 0; i += panel_rows) {
    panel.read({rows.begin + i, std::min(rows.end, rows.begin + i + panel_rows)});
    kernels::copy_from_host<D>(matrix.data() + i * code_bytes(codec, cols.size()), panel.codes().data(),
                               std::ssize(panel.codes()));
    kernels::copy_from_host<D>(matrix.scales() + i * scale_bytes(codec, cols.size()), panel.scales().data(),
                               std::ssize(panel.scales()));
  }
  return matrix;
}

template <Device D>
Buffer<float, D> read_vector(const Checkpoint& checkpoint, const std::string& name, svd::Range part) {
  Buffer<float> host(part.size());
  if (part.size() > 0) checkpoint.read(name, 0, part.begin, MatrixView<float>(host.data(), 1, part.size()));
  return to_device<D>(host.data(), host.size());
}

template <Device D>
LinearLayer<D>::LinearLayer(const WeightSource& source, const std::string& name, svd::Range rows, svd::Range cols,
                            bool has_bias)
    : rows_(rows.size()) {
  const std::string weight = name + ".weight";
  if (source.archive != nullptr && source.archive->contains(weight)) {
    factored_.emplace(*source.archive, weight, rows, cols, source.type);
  } else {
    dense_ = read_weights<D>(source.checkpoint, weight, rows, cols, source.type);
  }
  if (has_bias) bias_ = read_vector<D>(source.checkpoint, name + ".bias", rows);
}

template <Device D>
void LinearLayer<D>::apply(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) const {
  multiply(queue, x, y);
  add_bias(queue, y);
}

template <Device D>
void LinearLayer<D>::multiply(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) const {
  const PhaseTimer::Scope<D> timed(queue, Phase::weights);
  if (factored_) {
    kernels::factored_sum(queue, x, factored_->planes(), y);
  } else {
    kernels::linear(queue, x, dense_.view(), y);
  }
}

template <Device D>
void LinearLayer<D>::add_bias(Queue<D>& queue, MatrixView<float, D> y) const {
  if (bias_.size() > 0) kernels::add_bias(queue, bias_.data(), y);
}

template <Device D>
kernels::AffineView<D> LinearLayer<D>::view() const {
  kernels::AffineView<D> view;
  if (factored_) {
    view.planes = factored_->planes();
  } else {
    view.dense = dense_.view();
  }
  if (bias_.size() > 0) view.bias = bias_.data();
  return view;
}

template <Device D>
void LinearLayer<D>::replace(WeightMatrix<D> weights) {
  HACK_EXPECT(weights.rows() == rows_);
  factored_.reset();
  dense_ = std::move(weights);
}

template <Device D>
index_t LinearLayer<D>::bytes() const {
  return (factored_ ? factored_->bytes() : dense_.bytes()) + bias_.bytes();
}

template <Device D>
index_t LinearLayer<D>::numbers() const {
  if (!factored_) return dense_.rows() * dense_.cols();
  index_t numbers = 0;
  for (const kernels::FactoredView<D>& plane : factored_->planes()) {
    numbers += plane.u_offsets.back() + plane.v_offsets.back();
  }
  return numbers;
}

#define HACK_INSTANTIATE(D)                                                                                       \
  template WeightMatrix<D> read_weights(const Checkpoint&, const std::string&, svd::Range, svd::Range, HeldType); \
  template Buffer<float, D> read_vector(const Checkpoint&, const std::string&, svd::Range);                       \
  template class LinearLayer<D>;
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
