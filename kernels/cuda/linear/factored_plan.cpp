#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "kernels/cuda/linear/tile_runs.hpp"
#include "kernels/cuda/linear/factored_plan.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/factored_linear.hpp"
#include "kernels/row_marks.hpp"

namespace hack::kernels {

namespace {

using View = FactoredView<Device::cuda>;
using cuda::ExpansionShare;
using cuda::FactoredPlanLists;
using cuda::Panel;
using cuda::ProjectionShare;
using cuda::RankPiece;

int narrow(index_t n) {
  validate(n <= std::numeric_limits<int>::max(), "a factored matrix has {} numbers in a row or tile; use more ranks",
           n);
  return static_cast<int>(n);
}

/// The lists while they are made.
class Lists {
 public:
  Lists(const View& w, const std::uint8_t* marks) : w_(w), marks_(marks) {
    for (index_t j = 0; j < w.tile_cols(); ++j) add_projections(j);
    for (index_t i = 0; i < w.tile_rows(); ++i) add_tile_row(i);
    splits = choose_splits();
    for (index_t s = 0; s < splits && splits > 1; ++s) add_split(s);
  }

  std::vector<ProjectionShare> projections;
  std::vector<RankPiece> pieces;
  std::vector<Panel> panels;
  std::vector<ExpansionShare> few, many, split;
  std::vector<std::uint32_t> skeleton;
  std::map<std::pair<index_t, index_t>, cuda::KeptRows> kept;  // of each interpolative tile
  index_t splits = 1, projection_splits = 1;
  const index_t multiprocessors = cuda::multiprocessors();

 private:
  /// See FactoredPlanLists.
  index_t choose_splits() const {
    index_t most = 1;
    for (const ExpansionShare& share : few) most = std::max(most, std::ssize(pieces_of(share)));
    return cuda::splits_of(std::ssize(few), most, multiprocessors);
  }

  std::span<const RankPiece> pieces_of(const ExpansionShare& share) const {
    if (share.first_panel == share.last_panel) return {};
    const int first = panels[static_cast<std::size_t>(share.first_panel)].first_piece;
    const int last = panels[static_cast<std::size_t>(share.last_panel) - 1].last_piece;
    return std::span(pieces).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
  }

  /// Of each share's pieces the s-th of equal parts, which may be none; shares of one tile row have the same panels.
  void add_split(index_t s) {
    int tile_row = -1;    // the last one's first panel among all pieces
    int first_panel = 0;  // and among those of this split
    for (ExpansionShare share : few) {
      const std::span<const RankPiece> all = pieces_of(share);
      const index_t begin = std::ssize(all) * s / splits, end = std::ssize(all) * (s + 1) / splits;
      if (!all.empty() && share.first_panel != tile_row) {
        tile_row = share.first_panel;
        first_panel = narrow(std::ssize(panels));
        const int number = narrow(all.data() - pieces.data());
        for (index_t p = begin; p < end; ++p) add_to_panel(number + narrow(p), first_panel);
      }
      share.first_panel = begin == end ? 0 : first_panel;
      share.last_panel = begin == end ? 0 : narrow(std::ssize(panels));
      share.split = narrow(s);
      split.push_back(share);
    }
  }

  void add_projections(index_t j) {
    index_t v = w_.v_offsets[static_cast<std::size_t>(j)];
    const int col = narrow(w_.col_offsets[static_cast<std::size_t>(j)]);
    const int width = narrow(w_.col_offsets[static_cast<std::size_t>(j + 1)] - col);
    const index_t length = padded_length(w_.codec, width);
    index_t scales = has_scales(w_.codec) ? w_.v_scale_offsets[static_cast<std::size_t>(j)] : 0;
    for (index_t i = 0; i < w_.tile_rows(); ++i) {
      const TileLayout& tile = w_.tile(i, j);
      if (tile.kind == Structure::dense) {
        projections.push_back({.z = narrow(tile.block), .col = col, .width = width});
        continue;
      }
      for (index_t first = 0; first < tile.size; first += FactoredPlanLists::projected_rows) {
        const index_t rows = std::min<index_t>(FactoredPlanLists::projected_rows, tile.size - first);
        const int scale = tile.kind == Structure::low_rank ? narrow(tile.scale + first) : -1;
        projections.push_back({.v = v + first * length,
                               .v_scales = scales + first * scale_bytes(w_.codec, width),
                               .z = narrow(tile.block + first),
                               .rows = narrow(rows),
                               .ld = narrow(length),
                               .col = col,
                               .width = width,
                               .scale = scale});
        projection_splits = std::max(projection_splits, cuda::divide_up(width, FactoredPlanLists::projected_columns));
      }
      v += tile.size * length;
      scales += tile.size * scale_bytes(w_.codec, width);
    }
  }

  void add_tile_row(index_t i) {
    const auto at = static_cast<std::size_t>(i);
    const index_t height = w_.row_offsets[at + 1] - w_.row_offsets[at];
    const int first_panel = narrow(std::ssize(panels));
    const int stack = narrow(w_.stack_sizes[at]);
    const RankPiece stacked{.u = w_.u_offsets[at],
                            .u_scales = has_scales(w_.codec) ? w_.u_scale_offsets[at] : 0,
                            .ld = narrow(padded_length(w_.codec, stack))};
    add_pieces(narrow(w_.block_offsets[at]), stack, stacked, first_panel);
    for (index_t j = 0; j < w_.tile_cols(); ++j) {
      const TileLayout& tile = w_.tile(i, j);
      const bool is_interpolative = tile.kind == Structure::interpolative;
      if (tile.size == 0 || tile.is_stacked) continue;
      const RankPiece piece{.u = tile.left,
                            .u_scales = tile.left_scales,
                            .ld = narrow(padded_length(w_.codec, tile.size)),
                            .skeleton = is_interpolative ? add_skeletons(i, j, height) : -1,
                            .first_skeleton = narrow(tile.first_skeleton)};
      add_pieces(narrow(tile.block), narrow(tile.size), piece, first_panel);
    }
    const int last_panel = narrow(std::ssize(panels));
    const auto add_rows = [&](std::vector<ExpansionShare>& list, index_t rows) {
      for (index_t first = 0; first < height; first += rows) {
        list.push_back({first_panel, last_panel, narrow(first), narrow(std::min(rows, height - first)),
                        narrow(w_.row_offsets[at] + first)});
      }
    };
    add_rows(few, FactoredPlanLists::expanded_rows_of_few);
    add_rows(many, FactoredPlanLists::expanded_rows_of_many);
  }

  /// Cuts `length` numbers of z into pieces, and pieces into the panels from `first_panel` on.
  void add_pieces(int z, int length, RankPiece piece, int first_panel) {
    for (int first = 0; first < length; first += FactoredPlanLists::piece) {
      piece.z = z + first;
      piece.offset = first;
      piece.length = std::min(FactoredPlanLists::piece, length - first);
      pieces.push_back(piece);
      add_to_panel(narrow(std::ssize(pieces)) - 1, first_panel);
    }
  }

  /// The piece with this number to the last of the panels from `first_panel` on, or, where it is full, to another.
  void add_to_panel(int number, int first_panel) {
    const RankPiece& piece = pieces[static_cast<std::size_t>(number)];
    const bool is_first = std::ssize(panels) == first_panel;
    if (is_first || panels.back().length + piece.length > FactoredPlanLists::panel) {
      panels.push_back({number, number, piece.z, 0});
    }
    HACK_EXPECT(panels.back().z + panels.back().length == piece.z);
    panels.back().length += piece.length;
    ++panels.back().last_piece;
  }

  int add_skeletons(index_t i, index_t j, index_t height) {
    const std::uint8_t* marks = marks_ + w_.tile(i, j).marks;
    const int start = narrow(std::ssize(skeleton));
    kept[{i, j}] = {start, narrow(count_marks(marks, height))};
    for (index_t eight = 0; eight < mark_bytes(height); ++eight) {
      const auto above = static_cast<std::uint32_t>(count_marks(marks, std::min(8 * eight, height)));
      HACK_EXPECT(above < (1u << 24));
      skeleton.push_back(above << 8 | marks[eight]);
    }
    return start;
  }

  const View& w_;
  const std::uint8_t* marks_;
};

/// Puts one list behind the others, at 16 bytes.
template <class T>
std::size_t append(std::vector<std::byte>& all, const std::vector<T>& list) {
  const std::size_t start = (all.size() + 15) / 16 * 16;
  all.resize(start + list.size() * sizeof(T));
  if (!list.empty()) std::memcpy(all.data() + start, list.data(), list.size() * sizeof(T));
  return start;
}

}  // namespace

FactoredPlan<Device::cuda>::FactoredPlan(const View& view, const std::uint8_t* marks)
    : shares_(static_cast<index_t>(sizeof(FactoredPlanLists))) {
  const Lists lists(view, marks);
  const cuda::TileRunLists tiles(view, lists.multiprocessors, [&](index_t i, index_t j) {
    return lists.kept.at({i, j});
  });
  std::vector<std::byte> all;
  const std::size_t projections = append(all, lists.projections);
  const std::size_t pieces = append(all, lists.pieces);
  const std::size_t panels = append(all, lists.panels);
  const std::size_t few = append(all, lists.few);
  const std::size_t many = append(all, lists.many);
  const std::size_t split = append(all, lists.split);
  const std::size_t skeleton = append(all, lists.skeleton);
  const std::size_t runs = append(all, tiles.runs);
  const std::size_t parts = append(all, tiles.parts);
  const std::size_t loads = append(all, tiles.loads);
  const std::size_t skeletons = append(all, tiles.skeletons);
  const std::size_t counts = append(all, tiles.counts);
  const std::size_t tickets = append(all, std::vector<std::uint32_t>(tiles.counts.size()));
  lists_ = to_device<Device::cuda>(all.data(), std::ssize(all));
  std::byte* data = lists_.data();
  const FactoredPlanLists shares{.projections = reinterpret_cast<const ProjectionShare*>(data + projections),
                                 .pieces = reinterpret_cast<const RankPiece*>(data + pieces),
                                 .panels = reinterpret_cast<const Panel*>(data + panels),
                                 .few = reinterpret_cast<const ExpansionShare*>(data + few),
                                 .many = reinterpret_cast<const ExpansionShare*>(data + many),
                                 .split = reinterpret_cast<const ExpansionShare*>(data + split),
                                 .skeleton = reinterpret_cast<const std::uint32_t*>(data + skeleton),
                                 .splits = lists.splits,
                                 .projection_splits = lists.projection_splits,
                                 .multiprocessors = lists.multiprocessors,
                                 .projection_count = std::ssize(lists.projections),
                                 .few_count = std::ssize(lists.few),
                                 .many_count = std::ssize(lists.many),
                                 .split_count = std::ssize(lists.split),
                                 .tiles = {.runs = reinterpret_cast<const cuda::TileRun*>(data + runs),
                                           .parts = reinterpret_cast<const cuda::RunPart*>(data + parts),
                                           .loads = reinterpret_cast<const cuda::RunLoad*>(data + loads),
                                           .skeletons = reinterpret_cast<const cuda::RunSkeleton*>(data + skeletons),
                                           .counts = reinterpret_cast<const int*>(data + counts),
                                           .tickets = reinterpret_cast<std::uint32_t*>(data + tickets),
                                           .count = std::ssize(tiles.runs),
                                           .most = tiles.most,
                                           .is_aligned = tiles.is_aligned}};
  std::memcpy(shares_.data(), &shares, sizeof(shares));
}

}  // namespace hack::kernels
