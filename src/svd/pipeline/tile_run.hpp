#pragma once

#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/interpolative.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/matrix_source.hpp"

namespace hack::svd {

/// Tiles of one matrix that go through D together, from their numbers to their place in an archive. The steps are
/// called once each, in the order they stand here. Values are the host's until spectra are found, then in memory of D.
template <Device D>
class TileRun {
 public:
  /// `source` outlives this.
  TileRun(const MatrixSource& source, std::vector<Tile> tiles);

  const std::vector<Tile>& tiles() const { return tiles_; }

  /// Reads the tiles. A thread of its own may do it.
  void read();

  /// An Error names tensor and tile.
  void find_spectra(Queue<D>& queue);

  /// All singular values of the t-th tile; after find_spectra().
  std::span<const float> spectrum(std::size_t t) const;

  /// Finds the singular vectors that are kept and appends the tiles to their matrix's part, each as its choice says.
  /// The run is of no use then.
  void append_to(Queue<D>& queue, MatrixPart& part, std::span<const TileChoice> choices,
                 const CompressOptions& options);

 private:
  using Choices = std::span<const TileChoice>;

  /// Where the numbers of each tile begin, one after the other, and how many there are of all.
  struct Starts {
    std::vector<index_t> of;  // (tiles)
    index_t end = 0;

    /// Tiles begin at 64 bytes, where memory does.
    void add(index_t numbers) {
      of.push_back(end);
      end += (numbers + 15) / 16 * 16;
    }
  };

  template <class T, Device Where>
  MatrixView<T, Where> values_in(T* all, std::size_t t) const {
    return {all + values_at_.of[t], tiles_[t].height, tiles_[t].width};
  }
  kernels::TileSvd<D> svd_of(std::size_t t);
  std::vector<MatrixView<const float, D>> values_of_all() const;
  void check(std::span<const kernels::TileSvd<D>> svds) const;
  bool keeps_values(std::size_t t, const TileChoice& choice) const;
  void find_vectors(Queue<D>& queue, Choices choices);
  void rebuild_truncated(Queue<D>& queue, Choices choices);
  std::vector<kernels::InterpolativeTile<D>> tiles_to_interpolate(Choices choices);

  const MatrixSource& source_;
  std::vector<Tile> tiles_;
  std::vector<index_t> ranks_;  // (tiles) k, how many vectors a tile needs
  Starts values_at_, sigma_at_, u_at_, vt_at_;
  Buffer<float> read_;          // (tiles) × (h, w)
  Buffer<float, D> values_;     // likewise
  Buffer<float, D> sigma_;      // (tiles) × (r)
  std::vector<float> spectra_;  // the same on the host
  kernels::ReducedTiles<D> reduced_;
  Buffer<float, D> u_;   // (tiles) × (h, k)
  Buffer<float, D> vt_;  // (tiles) × (k, w)
};

}  // namespace hack::svd
