#include "model/import/foreign_matrix.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

using svd::Structure;

constexpr std::string_view ending_of_weights = ".weight";
constexpr index_t rows_at_a_time = 256;

/// How a layout calls the two linear layers of a module.
struct LowRankLayout {
  std::string_view ending;  ///< of modules it applies to, which is taken away
  std::string_view left;    ///< put behind the module's name
  std::string_view right;
};

constexpr std::array low_rank_layouts = {LowRankLayout{"_proj", "_u_proj", "_v_proj"},
                                         LowRankLayout{"", ".ALinear", ".BLinear"}};

/// Appends the numbers of a tensor (rows, cols) in a plain codec that has room for them.
void append_numbers(std::vector<std::byte>& to, const ForeignTensors& tensors, const std::string& name,
                    const MatrixOf& sizes, Codec codec) {
  std::vector<float> panel;
  for (index_t i = 0; i < sizes.rows; i += rows_at_a_time) {
    const index_t rows = std::min(rows_at_a_time, sizes.rows - i);
    panel.resize(static_cast<std::size_t>(rows * sizes.cols));
    tensors.read(name, i, {panel.data(), rows, sizes.cols});
    const std::size_t begin = to.size();
    to.resize(begin + panel.size() * static_cast<std::size_t>(size_of(plain_type(codec))));
    convert(panel.data(), DType::f32, to.data() + begin, plain_type(codec), std::ssize(panel));
  }
}

class LowRankMatrix final : public ForeignMatrix {
 public:
  LowRankMatrix(ForeignTensors& tensors, MatrixOf of, std::string left, std::string right)
      : tensors_(tensors), of_(std::move(of)), left_(std::move(left)), right_(std::move(right)) {
    const std::vector<index_t>& shape = tensors_.entry(left_).shape;
    rank_ = shape.size() == 2 ? shape[1] : 0;
    const std::array<index_t, 2> u{of_.rows, rank_}, v{rank_, of_.cols};
    const std::string type = tensors.find(left_, u, plain_types).type;
    codec_ = tensors.find(right_, v, plain_types).type == type ? codec_of_type(type) : Codec::f32;
    validate(rank_ >= 1 && rank_ <= std::min(of_.rows, of_.cols),
             "'{}' and '{}' of {} have rank {}, a matrix ({}, {}) has at most {}; store it dense", left_, right_,
             tensors_.path().string(), rank_, of_.rows, of_.cols, std::min(of_.rows, of_.cols));
  }

  svd::MatrixPart part() const override {
    svd::StoredTerm term{Structure::low_rank, codec_, static_cast<std::int32_t>(rank_), of_.rows, of_.cols, {}};
    append_numbers(term.bytes, tensors_, left_, {"", of_.rows, rank_}, codec_);
    append_numbers(term.bytes, tensors_, right_, {"", rank_, of_.cols}, codec_);
    const std::vector<float> sigma(static_cast<std::size_t>(rank_), 1.0f);
    const auto bytes = std::as_bytes(std::span(sigma));
    term.bytes.insert(term.bytes.end(), bytes.begin(), bytes.end());
    return whole_part(of_, term);
  }
  Codec codec() const override { return codec_; }

 private:
  const ForeignTensors& tensors_;
  MatrixOf of_;
  std::string left_, right_;
  index_t rank_ = 0;
  Codec codec_ = Codec::f32;
};

class DenseMatrix final : public ForeignMatrix {
 public:
  DenseMatrix(ForeignTensors& tensors, MatrixOf of) : tensors_(tensors), of_(std::move(of)) {
    codec_ = codec_of_type(tensors.find(of_.name, std::array<index_t, 2>{of_.rows, of_.cols}, plain_types).type);
  }

  svd::MatrixPart part() const override {
    const auto full = static_cast<std::int32_t>(std::min(of_.rows, of_.cols));
    svd::StoredTerm term{Structure::dense, codec_, full, of_.rows, of_.cols, {}};
    append_numbers(term.bytes, tensors_, of_.name, of_, codec_);
    return whole_part(of_, term);
  }
  Codec codec() const override { return codec_; }

 private:
  const ForeignTensors& tensors_;
  MatrixOf of_;
  Codec codec_ = Codec::f32;
};

}  // namespace

std::string MatrixOf::module() const { return name.substr(0, name.size() - ending_of_weights.size()); }

svd::MatrixPart whole_part(const MatrixOf& of, const svd::StoredTerm& term) {
  svd::MatrixPart part{.name = of.name, .grid = of.whole(), .has_spectra = false};
  part.tiles.push_back({.kind = term.structure, .rank = term.rank});
  part.append(term, 0);
  return part;
}

std::unique_ptr<ForeignMatrix> find_low_rank(ForeignTensors& tensors, const MatrixOf& of) {
  for (const LowRankLayout& layout : low_rank_layouts) {
    std::string stem = of.module();
    if (!stem.ends_with(layout.ending)) continue;
    stem.resize(stem.size() - layout.ending.size());
    const std::string left = stem + std::string(layout.left) + ".weight";
    const std::string right = stem + std::string(layout.right) + ".weight";
    if (!tensors.contains(left) && !tensors.contains(right)) continue;
    return std::make_unique<LowRankMatrix>(tensors, of, left, right);
  }
  return nullptr;
}

std::unique_ptr<ForeignMatrix> find_dense(ForeignTensors& tensors, const MatrixOf& of) {
  if (!tensors.contains(of.name)) return nullptr;
  return std::make_unique<DenseMatrix>(tensors, of);
}

}  // namespace hack::model
