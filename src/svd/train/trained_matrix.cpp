#include "svd/train/trained_matrix.hpp"

#include <algorithm>
#include <utility>

#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"
#include "kernels/host_view.hpp"

namespace hack::svd {

index_t parameter_count(const TermEntry& term, index_t height, index_t width) {
  if (term.structure == Structure::dense) return ValueParameters::count(term.codec, height, width);
  return term.rank == 0 ? 0 : FactorParameters::count(term.structure, height, width, term.rank);
}

std::vector<index_t> parameter_offsets(const MatrixTable& table) {
  std::vector<index_t> offsets = {0};
  const auto add = [&](std::span<const TermEntry> terms) {
    index_t count = 0;
    for (const TermEntry& term : terms) {
      const Tile extent = table.extent_of(term);
      count += parameter_count(term, extent.height, extent.width);
    }
    offsets.push_back(offsets.back() + count);
  };
  for (index_t t = 0; t < table.grid.size(); ++t) add(table.terms_of(t));
  add(table.whole_terms());
  return offsets;
}

StoredTerm with_parameters(const StoredTerm& term, const float* parameters) {
  if (term.structure == Structure::dense) return ValueParameters(term).encoded(parameters);
  return term.rank == 0 ? term : FactorParameters(term).encoded(parameters);
}

template <Device D>
TrainedMatrix<D>::TrainedMatrix(const FactorSource& source, std::string name, const MatrixCut& cut)
    : name_(std::move(name)), block_(cut.block()) {
  const MatrixTable& table = source.matrix(name_);
  const std::vector<index_t> offsets = parameter_offsets(table);
  whole_count_ = offsets.back();
  const TileGrid& grid = table.grid;
  const auto needs = [&](const Tile& tile) {
    const std::vector<int> ranks = cut.ranks_of(tile);
    return ranks.size() > 1 || (!ranks.empty() && ranks.front() == cut.own);
  };
  for (index_t t = 0; t < grid.size(); ++t) {
    const Tile at = grid.tile(t);
    if (!needs(at)) continue;
    index_t at_whole = offsets[static_cast<std::size_t>(t)];
    const std::vector<StoredTile> tile = source.read_tiles(name_, at.i, at.j, at.j + 1);
    for (std::size_t n = 0; n < tile[0].terms.size(); ++n) {
      add(tile[0].terms[n], at, n, cut, at_whole);
      at_whole += parameter_count(table.terms_of(t)[n], at.height, at.width);
    }
  }
  // Terms of the whole matrix come on top of those of the tiles.
  const Tile all{0, 0, 0, 0, grid.rows(), grid.cols()};
  index_t at_whole = offsets[offsets.size() - 2];
  std::size_t pass = passes_, n = 0;
  if (!table.whole_terms().empty() && needs(all)) {
    for (const StoredTerm& term : source.read_whole_terms(name_)) {
      add(term, all, pass++, cut, at_whole);
      at_whole += parameter_count(table.whole_terms()[n++], all.height, all.width);
    }
  }
  index_t start = 0;
  for (const Piece& piece : pieces_) {
    const auto* factors = std::get_if<FactorParameters>(&piece.numbers);
    const bool is_here = factors != nullptr && piece.is_met();
    factor_starts_.push_back(is_here ? start : -1);
    if (is_here) start += factors->rank() * (factors->height() + factors->width());
  }
}

template <Device D>
void TrainedMatrix<D>::add(const StoredTerm& term, const Tile& at, std::size_t pass, const MatrixCut& cut,
                           index_t at_whole) {
  if (term.structure != Structure::dense && term.rank == 0) return;
  const std::vector<int> ranks = cut.ranks_of(at);
  const bool is_shared = ranks.size() > 1;
  index_t& next = is_shared ? counts_.shared : counts_.own;
  Numbers numbers =
      term.structure == Structure::dense ? Numbers(ValueParameters(term)) : Numbers(FactorParameters(term));
  const index_t count = std::visit([](const auto& of) { return of.count(); }, numbers);
  pieces_.push_back({intersect(block_.rows, {at.row, at.row + at.height}),
                     intersect(block_.cols, {at.col, at.col + at.width}), at.row, at.col, pass, is_shared,
                     ranks.front() == cut.own, next, at_whole, std::move(numbers)});
  passes_ = std::max(passes_, pass + 1);
  next += count;
}

template <Device D>
void TrainedMatrix<D>::place(ParameterPlace parameters, ParameterPlace gradients) {
  parameters_ = parameters;
  gradients_ = gradients;
  for (const Piece& piece : pieces_) {
    std::visit([&](const auto& of) { of.start(place_of(piece, parameters_)); }, piece.numbers);
  }
}

template <Device D>
index_t TrainedMatrix<D>::factor_numbers() const {
  index_t sum = 0;
  for (std::size_t p = 0; p < pieces_.size(); ++p) {
    if (factor_starts_[p] < 0) continue;
    const auto& of = std::get<FactorParameters>(pieces_[p].numbers);
    sum = factor_starts_[p] + of.rank() * (of.height() + of.width());
  }
  return sum;
}

/// The whole factors of a term; a block takes some rows of the left one and some columns of the right one.
template <Device D>
template <class T, Device Where>
auto TrainedMatrix<D>::factors_at(T* numbers, const Piece& piece, index_t at) const -> Factors<T, Where> {
  const auto& of = std::get<FactorParameters>(piece.numbers);
  return {{numbers + at, of.height(), of.rank()}, {numbers + at + of.height() * of.rank(), of.rank(), of.width()}};
}

template <Device D>
std::vector<kernels::FactorTile<D>> TrainedMatrix<D>::tiles(std::size_t pass, float* gradients) {
  std::vector<kernels::FactorTile<D>> tiles;
  for (std::size_t p = 0; p < pieces_.size(); ++p) {
    const Piece& piece = pieces_[p];
    if (piece.pass != pass || factor_starts_[p] < 0) continue;
    const auto cut = [&](float* numbers) {
      Factors<float, D> of = factors_at<float, D>(numbers, piece, factor_starts_[p]);
      of.left = of.left.rows_from(piece.rows.begin - piece.row, piece.rows.size());
      of.right = of.right.block(0, piece.cols.begin - piece.col, of.right.rows, piece.cols.size());
      return of;
    };
    const Factors<float, D> of = cut(factors_.data());
    kernels::FactorTile<D>& tile = tiles.emplace_back();
    tile.row = piece.rows.begin - block_.rows.begin;
    tile.col = piece.cols.begin - block_.cols.begin;
    tile.left = of.left;
    tile.right = of.right;
    if (gradients == nullptr) continue;
    const Factors<float, D> to = cut(gradients);
    tile.left_gradient = to.left;
    tile.right_gradient = to.right;
  }
  return tiles;
}

template <Device D>
void TrainedMatrix<D>::round_factors(Queue<D>& queue) {
  Buffer<float> host(factor_numbers());
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t p = 0; p < pieces_.size(); ++p) {
    if (factor_starts_[p] < 0) continue;
    const auto to = factors_at<float, Device::cpu>(host.data(), pieces_[p], factor_starts_[p]);
    std::get<FactorParameters>(pieces_[p].numbers).round(place_of(pieces_[p], parameters_), to.left, to.right);
  }
  if constexpr (D == Device::cpu) {
    factors_ = std::move(host);
  } else {
    factors_ = to_device<D>(host.data(), host.size());
  }
}

/// The numbers of dense terms.
template <Device D>
void TrainedMatrix<D>::write_values(Queue<D>& queue, std::size_t pass, MatrixView<float, D> to) const {
  Buffer<float> host(D == Device::cpu ? 0 : rows() * cols());
  std::fill_n(host.data(), host.size(), 0.0f);
  float* data = D == Device::cpu ? to.data : host.data();
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t p = 0; p < pieces_.size(); ++p) {
    const Piece& piece = pieces_[p];
    const auto* values = std::get_if<ValueParameters>(&piece.numbers);
    if (values == nullptr || piece.pass != pass || !piece.is_met()) continue;
    std::vector<float> all(static_cast<std::size_t>(values->height() * values->width()));
    values->round(place_of(piece, parameters_), {all.data(), values->height(), values->width()});
    for (index_t i = piece.rows.begin; i < piece.rows.end; ++i) {
      const float* from = all.data() + (i - piece.row) * values->width() + piece.cols.begin - piece.col;
      std::copy_n(from, piece.cols.size(),
                  data + (i - block_.rows.begin) * cols() + piece.cols.begin - block_.cols.begin);
    }
  }
  if constexpr (D != Device::cpu) {
    kernels::copy_from_host<D>(to.data, host.data(), static_cast<std::size_t>(host.bytes()));
  }
}

template <Device D>
void TrainedMatrix<D>::rebuild(Queue<D>& queue) {
  round_factors(queue);
  weights_ = Buffer<float, D>(rows() * cols());
  const MatrixView<float, D> whole(weights_.data(), rows(), cols());
  Buffer<float, D> more(passes_ > 1 ? whole.rows * whole.cols : 0);
  for (std::size_t pass = 0; pass < passes_; ++pass) {
    const MatrixView<float, D> to(pass == 0 ? weights_.data() : more.data(), rows(), cols());
    kernels::clear<D>(queue, to);
    queue.wait();
    write_values(queue, pass, to);
    kernels::multiply_factors<D>(queue, tiles(pass, nullptr), to);
    if (pass > 0) kernels::add<D>(queue, to, whole);
  }
  queue.wait();
}

template <Device D>
void TrainedMatrix<D>::release() {
  weights_ = {};
  factors_ = {};
}

template <Device D>
void TrainedMatrix<D>::differentiate(Queue<D>& queue, MatrixView<const float, D> dw) {
  HACK_EXPECT(dw.rows == rows() && dw.cols == cols() && dw.ld == dw.cols);
  Buffer<float, D> gradients(factors_.size());
  for (std::size_t pass = 0; pass < passes_; ++pass) {
    kernels::factor_gradients<D>(queue, dw, tiles(pass, gradients.data()));
  }
  const HostView<float, D> of_factors(queue, gradients.data(), gradients.size());
  const bool has_values = std::ranges::any_of(pieces_, [](const Piece& piece) {
    const auto* values = std::get_if<ValueParameters>(&piece.numbers);
    return values != nullptr && values->count() > 0;
  });
  const HostView<float, D> here(queue, dw.data, has_values ? rows() * cols() : 0);
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t p = 0; p < pieces_.size(); ++p) {
    const Piece& piece = pieces_[p];
    if (!piece.is_met()) continue;
    float* to = place_of(piece, gradients_);
    const Range of_rows = {piece.rows.begin - piece.row, piece.rows.end - piece.row};
    const Range of_cols = {piece.cols.begin - piece.col, piece.cols.end - piece.col};
    if (factor_starts_[p] >= 0) {
      const auto from = factors_at<const float, Device::cpu>(of_factors.data(), piece, factor_starts_[p]);
      std::get<FactorParameters>(piece.numbers)
          .add_gradients(of_rows, from.left.rows_from(of_rows.begin, of_rows.size()), of_cols,
                         from.right.block(0, of_cols.begin, from.right.rows, of_cols.size()), to);
      continue;
    }
    const auto& values = std::get<ValueParameters>(piece.numbers);
    if (values.count() == 0) continue;
    std::vector<float> whole(static_cast<std::size_t>(values.height() * values.width()));
    for (index_t i = piece.rows.begin; i < piece.rows.end; ++i) {
      const float* from = here.data() + (i - block_.rows.begin) * cols() + piece.cols.begin - block_.cols.begin;
      std::copy_n(from, piece.cols.size(), whole.data() + (i - piece.row) * values.width() + of_cols.begin);
    }
    values.add_gradients({whole.data(), values.height(), values.width()}, to);
  }
}

template <Device D>
std::vector<float> TrainedMatrix<D>::answered(ParameterPlace parameters) const {
  std::vector<float> whole(static_cast<std::size_t>(whole_count_));
  for (const Piece& piece : pieces_) {
    if (!piece.is_answered_for) continue;
    const index_t count = std::visit([](const auto& of) { return of.count(); }, piece.numbers);
    std::copy_n(place_of(piece, parameters), count, whole.data() + piece.at_whole);
  }
  return whole;
}

template class TrainedMatrix<Device::cpu>;
template class TrainedMatrix<Device::cuda>;

}  // namespace hack::svd
