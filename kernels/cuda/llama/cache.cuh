#pragma once

#include "kernels/cuda/llama/elementwise.cuh"

namespace hack::kernels::cuda {

/// Keys or values (heads, capacity, head_dim) of one layer.
struct Cache {
  float* data = nullptr;
  index_t capacity = 0;
  index_t head_dim = 0;

  HACK_BODY float* row(index_t head, index_t position) const { return data + (head * capacity + position) * head_dim; }
};

struct AppendToCache {
  static constexpr const char* name = "AppendToCache";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> rows;
  Position<Device::cuda> position = 0;
  Cache cache;

  Geometry geometry() const { return RowPieces::geometry(rows.rows, rows.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t first_position = value_of(position);
    for_each_in_piece(exec, rows.cols, [&](index_t t, index_t j) {
      cache.row(j / cache.head_dim, first_position + t)[j % cache.head_dim] = rows.row(t)[j];
    });
  }
};

}  // namespace hack::kernels::cuda
