#include "kernels/cuda/linear/tile_runs.hpp"

#include <algorithm>
#include <limits>

#include "kernels/cuda/linear/row_dot.cuh"

namespace hack::kernels::cuda {

namespace {

int narrow_number(index_t n) {
  validate(n <= std::numeric_limits<int>::max(), "a factored matrix has {} numbers in a row or list; use more ranks",
           n);
  return static_cast<int>(n);
}

int table_rows(index_t rows) { return static_cast<int>((rows + 3) / 4 * 4); }

index_t bytes_of(Codec codec, index_t numbers) { return numbers * spec_of(codec).code_bits / 8; }

}  // namespace

/// Left rows: where they begin, and how far they lie apart.
struct TileRunLists::Left {
  index_t codes, scales;  // bytes
  index_t length;         // numbers of a row as it is stored
  index_t row_scales;     // bytes
  index_t rows;
};

TileRunLists::TileRunLists(const FactoredView<Device::cuda>& w, index_t multiprocessors,
                           const std::function<KeptRows(index_t, index_t)>& kept_of)
    : w_(w), kept_of_(kept_of) {
  const index_t bits = spec_of(w.codec).code_bits;
  per_load_ = spec_of(w.codec).block > 0 ? run_length : 128 / bits;
  if (!fits()) return;
  is_aligned = finds_aligned();
  const index_t wanted = divide_up(TileRuns::blocks_wanted * multiprocessors, std::max<index_t>(w.tile_rows(), 1));
  columns_ = std::min<index_t>(divide_up(w.cols, wanted), TileRuns::columns);
  for (index_t i = 0; i < w.tile_rows(); ++i) {
    int number = 0;
    index_t first = 0;
    do {
      const index_t last = end_of_run(i, first);
      add_run(i, first, last, number++);
      first = last;
    } while (first < w.tile_cols());
    counts.push_back(number);
    most = std::max<index_t>(most, number);
  }
}

bool TileRunLists::fits() const {
  const auto is_short = [](std::span<const index_t> offsets) {
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      if (offsets[i] - offsets[i - 1] > TileRuns::most_rows) return false;
    }
    return true;
  };
  const bool has_left = w_.rank_space() == 0 || w_.u_offsets.back() > 0;
  return has_left && is_short(w_.row_offsets) && is_short(w_.col_offsets) &&
         std::ranges::all_of(w_.tiles, [](const TileLayout& tile) { return tile.size <= TileRuns::most_rows; });
}

bool TileRunLists::finds_aligned() const {
  if (spec_of(w_.codec).block > 0) return true;
  const auto are_whole = [&](index_t start, index_t length) {
    return bytes_of(w_.codec, start) % 16 == 0 && bytes_of(w_.codec, length) % 16 == 0;
  };
  for (index_t j = 0; j < w_.tile_cols(); ++j) {
    const auto at = static_cast<std::size_t>(j);
    if (!are_whole(w_.v_offsets[at], w_.col_offsets[at + 1] - w_.col_offsets[at])) return false;
  }
  for (index_t i = 0; i < w_.tile_rows(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (!are_whole(w_.u_offsets[at], w_.stack_sizes[at])) return false;
  }
  return std::ranges::all_of(w_.tiles, [&](const TileLayout& tile) {
    return tile.is_stacked || tile.size == 0 || are_whole(tile.left, tile.size);
  });
}

/// Loads of numbers [begin, end) of a row that begins at a load.
index_t TileRunLists::loads_between(index_t begin, index_t end) const {
  if (begin == end) return 0;
  return is_aligned ? divide_up(end, per_load_) - begin / per_load_ : divide_up(end - begin, per_load_);
}

/// The tile after the last of a run that begins with tile `first`: as many columns as are wanted, or as there is room.
index_t TileRunLists::end_of_run(index_t i, index_t first) const {
  const auto at = static_cast<std::size_t>(i);
  const index_t rows = table_rows(w_.row_offsets[at + 1] - w_.row_offsets[at]);
  index_t stack = 0, own = 0, words = rows, last = first;
  for (; last < w_.tile_cols(); ++last) {
    const TileLayout& tile = w_.tile(i, last);
    stack += tile.is_stacked ? tile.size : 0;
    own += tile.is_stacked ? 0 : loads_between(0, tile.size);
    words += tile.kind == Structure::interpolative ? rows : 0;
    const index_t width =
        w_.col_offsets[static_cast<std::size_t>(last + 1)] - w_.col_offsets[static_cast<std::size_t>(first)];
    const index_t all = divide_up(stack, per_load_) + 1 + own;  // a stack may begin and end within a load
    const bool has_room =
        divide_up(all, TileRuns::loads_of_turn) * TileRuns::loads_of_turn * per_load_ <= TileRuns::numbers &&
        words <= TileRuns::table_words;
    if (last > first && (width > columns_ || !has_room)) break;
  }
  return last;
}

void TileRunLists::add_run(index_t i, index_t first, index_t last, int number) {
  const auto at = static_cast<std::size_t>(i);
  TileRun run{.first_part = narrow_number(std::ssize(parts)),
              .first_load = narrow_number(std::ssize(loads)),
              .first_skeleton = narrow_number(std::ssize(skeletons)),
              .y = narrow_number(w_.row_offsets[at]),
              .rows = static_cast<int>(w_.row_offsets[at + 1] - w_.row_offsets[at]),
              .table = table_rows(w_.row_offsets[at + 1] - w_.row_offsets[at]),
              .number = number,
              .tile_row = narrow_number(i)};
  first_load_ = loads.size();
  std::vector<int> z(static_cast<std::size_t>(last - first));
  add_stack(i, first, last, z);
  int tables = 1;
  for (index_t j = first; j < last; ++j) {
    const TileLayout& tile = w_.tile(i, j);
    if (tile.is_stacked || tile.size == 0) continue;
    const bool is_interpolative = tile.kind == Structure::interpolative;
    const KeptRows kept = is_interpolative ? kept_of_(i, j) : KeptRows{};
    int& z_of = z[static_cast<std::size_t>(j - first)];
    z_of = add_loads({bytes_of(w_.codec, tile.left), tile.left_scales, padded_length(w_.codec, tile.size),
                      scale_bytes(w_.codec, tile.size), run.rows - kept.count},
                     0, tile.size, is_interpolative ? tables * run.table : 0);
    if (!is_interpolative) continue;
    ++tables;
    skeletons.push_back({kept.eights, z_of + narrow_number(tile.first_skeleton)});
  }
  for (index_t j = first; j < last; ++j) add_parts(i, j, z[static_cast<std::size_t>(j - first)]);
  while ((loads.size() - first_load_) % TileRuns::loads_of_turn != 0) {
    loads.push_back(loads.back());  // multiplied with zeros
    if (!is_aligned) loads.back().table_and_part &= RunLoad::table_mask | 1 << RunLoad::part_at;
  }
  run.last_part = narrow_number(std::ssize(parts));
  run.last_load = narrow_number(std::ssize(loads));
  run.last_skeleton = narrow_number(std::ssize(skeletons));
  runs.push_back(run);
}

/// The run's tiles in the stack are one piece of its rows.
void TileRunLists::add_stack(index_t i, index_t first, index_t last, std::vector<int>& z) {
  const auto at = static_cast<std::size_t>(i);
  index_t begin = -1, end = -1;
  for (index_t j = first; j < last; ++j) {
    const TileLayout& tile = w_.tile(i, j);
    if (!tile.is_stacked || tile.size == 0) continue;
    if (begin < 0) begin = tile.block - w_.block_offsets[at];
    end = tile.block - w_.block_offsets[at] + tile.size;
  }
  if (begin < 0) return;
  const index_t stack = w_.stack_sizes[at];
  const int z_of_begin =
      add_loads({bytes_of(w_.codec, w_.u_offsets[at]), has_scales(w_.codec) ? w_.u_scale_offsets[at] : 0,
                 padded_length(w_.codec, stack), scale_bytes(w_.codec, stack), w_.rows},
                begin, end, 0);
  for (index_t j = first; j < last; ++j) {
    const TileLayout& tile = w_.tile(i, j);
    if (!tile.is_stacked) continue;
    z[static_cast<std::size_t>(j - first)] = z_of_begin + narrow_number(tile.block - w_.block_offsets[at] - begin);
  }
}

/// Loads of numbers [begin, end) of left rows; where the first of these numbers stands in z.
int TileRunLists::add_loads(const Left& left, index_t begin, index_t end, int table) {
  const CodecSpec& spec = spec_of(w_.codec);
  const bool has_blocks_of_scales = spec.block > 0;
  const index_t start = is_aligned ? begin / per_load_ * per_load_ : begin;
  const auto z = static_cast<index_t>(loads.size() - first_load_) * per_load_ + begin - start;
  for (index_t at = start; at < end; at += per_load_) {
    const index_t block = has_blocks_of_scales ? at / spec.block : 0;
    RunLoad load;
    load.codes = left.codes + bytes_of(w_.codec, has_blocks_of_scales ? block * spec.block : at);
    load.scales = left.scales + block * spec.scale_bytes;
    load.row_bytes = narrow_number(bytes_of(w_.codec, left.length));
    load.row_scales = narrow_number(left.row_scales);
    if (left.rows == 0) load = {};  // never multiplied
    const index_t part = has_blocks_of_scales ? at % spec.block / per_load_ : std::min(per_load_, end - at);
    load.table_and_part = table | static_cast<int>(part) << RunLoad::part_at;
    loads.push_back(load);
  }
  return narrow_number(z);
}

void TileRunLists::add_parts(index_t i, index_t j, int z) {
  const TileLayout& tile = w_.tile(i, j);
  if (tile.size == 0) return;
  const auto at = static_cast<std::size_t>(j);
  const index_t width = w_.col_offsets[at + 1] - w_.col_offsets[at];
  RunPart part{.col = narrow_number(w_.col_offsets[at]), .width = static_cast<int>(width), .z = z};
  if (tile.kind == Structure::dense) {
    parts.push_back(part);
    return;
  }
  index_t above = 0;  // right rows of the tiles above in this tile column
  for (index_t k = 0; k < i; ++k) above += w_.tile(k, j).kind == Structure::dense ? 0 : w_.tile(k, j).size;
  part.row_bytes = narrow_number(bytes_of(w_.codec, padded_length(w_.codec, width)));
  part.row_scales = narrow_number(scale_bytes(w_.codec, width));
  for (index_t first = 0; first < tile.size; first += TileRuns::part_rows) {
    part.codes = bytes_of(w_.codec, w_.v_offsets[at]) + (above + first) * part.row_bytes;
    part.scales = (has_scales(w_.codec) ? w_.v_scale_offsets[at] : 0) + (above + first) * part.row_scales;
    part.rows = static_cast<int>(std::min<index_t>(TileRuns::part_rows, tile.size - first));
    part.scale = tile.kind == Structure::low_rank ? narrow_number(tile.scale + first) : -1;
    part.z = z + narrow_number(first);
    parts.push_back(part);
  }
}

}  // namespace hack::kernels::cuda
