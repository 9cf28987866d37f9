#include "svd/fit/product_truncation.hpp"

#include <algorithm>

#include "kernels/host_view.hpp"

namespace hack::svd {

template <Device D>
ProductTruncation<D>::ProductTruncation(WeightedTileRows<D>& rows, index_t begin, index_t end) {
  const index_t columns = rows.whitening().tile_cols();
  index_t lefts = 0, rights = 0, ranks = 0, squares = 0;
  for (index_t r = begin; r < end; ++r) {
    for (index_t j = 0; j < columns; ++j) {
      const Shape& shape = shapes_.emplace_back(Shape{rows.height(r), rows.rank(r, j), rows.whitening().width(j)});
      lefts += shape.h * shape.k;
      rights += shape.k * shape.w;
      ranks += shape.k;
      squares += shape.k * shape.k;
    }
  }
  lefts_ = Buffer<float, D>(lefts);
  u_ = Buffer<float, D>(lefts);
  sigma_ = Buffer<float, D>(ranks);
  rotations_ = Buffer<float, D>(squares);
  wide_ = Buffer<double, D>(squares);
  products_ = Buffer<double, D>(rights);
  vt_ = Buffer<float, D>(rights);
  for (index_t r = begin; r < end; ++r) {
    for (index_t j = 0; j < columns; ++j) {
      if (rows.rank(r, j) > 0) place(rows, r, j);
    }
  }
}

template <Device D>
void ProductTruncation<D>::place(WeightedTileRows<D>& rows, index_t r, index_t j) {
  const index_t h = rows.height(r), k = rows.rank(r, j), w = rows.whitening().width(j);
  const MatrixView<float, D> left(lefts_.data() + left_, h, k), rotation(rotations_.data() + square_, k, k);
  const MatrixView<double, D> wide(wide_.data() + square_, k, k), product(products_.data() + right_, k, w);
  narrowed_.push_back({rows.left(r, j), left});
  in_.push_back(left);
  out_.push_back({{u_.data() + left_, h, k}, sigma_.data() + rank_, rotation, kernels::SvdStatus::ok});
  widened_.push_back({rotation, wide});
  rights_.push_back({wide, rows.right(r, j), product});
  rounded_.push_back({product, {vt_.data() + right_, k, w}});
  numbers_.push_back(r * rows.whitening().tile_cols() + j);
  left_ += h * k;
  right_ += k * w;
  rank_ += k;
  square_ += k * k;
}

template <Device D>
std::vector<kernels::SvdStatus> ProductTruncation<D>::run(Queue<D>& queue) {
  kernels::combine<D, double, float>(queue, 1, 0, narrowed_);
  kernels::tile_svd<D>(queue, in_, out_);
  kernels::combine<D, float, double>(queue, 1, 0, widened_);
  kernels::multiply<D>(queue, 1, kernels::Transpose::no, kernels::Transpose::no, 0, rights_);
  kernels::combine<D, double, float>(queue, 1, 0, rounded_);
  std::vector<kernels::SvdStatus> statuses;
  for (const kernels::TileSvd<D>& svd : out_) statuses.push_back(svd.status);
  return statuses;
}

template <Device D>
void ProductTruncation<D>::take(Queue<D>& queue, std::vector<TruncatedTile>& tiles) const {
  const HostView<float, D> u(queue, u_.data(), u_.size()), sigma(queue, sigma_.data(), sigma_.size()),
      vt(queue, vt_.data(), vt_.size());
  const float *next_u = u.data(), *next_sigma = sigma.data(), *next_vt = vt.data();
  for (const auto& [h, k, w] : shapes_) {
    TruncatedTile tile{k, Buffer<float>(h * k), Buffer<float>(k), Buffer<float>(k * w)};
    std::copy_n(next_u, h * k, tile.u.data());
    std::copy_n(next_sigma, k, tile.sigma.data());
    std::copy_n(next_vt, k * w, tile.vt.data());
    next_u += h * k;
    next_sigma += k;
    next_vt += k * w;
    tiles.push_back(std::move(tile));
  }
}

template class ProductTruncation<Device::cpu>;
template class ProductTruncation<Device::cuda>;

}  // namespace hack::svd
