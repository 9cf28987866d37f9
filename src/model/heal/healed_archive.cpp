#include "model/heal/healed_archive.hpp"

#include <utility>

#include "kernels/config.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/collective_try.hpp"
#include "svd/train/trained_matrix.hpp"

namespace hack::model {
namespace {

using svd::MatrixPart;

/// Some tiles of a matrix, and on the last rank the terms of the whole matrix.
class HealedPart {
 public:
  HealedPart(const svd::FactorArchive& archive, const std::string& name, const std::vector<float>& parameters)
      : archive_(archive), table_(archive.matrix(name)), parameters_(parameters) {
    part_.name = name;
    part_.has_spectra = table_.spectrum_length > 0;
  }

  MatrixPart make(svd::Range tiles, bool is_last) {
    part_.first_tile = tiles.begin;
    if (part_.has_spectra) part_.spectra = archive_.spectrum(part_.name, tiles);
    offsets_ = svd::parameter_offsets(table_);
    for (index_t t = tiles.begin; t < tiles.end; ++t) append_tile(t);
    if (is_last)
      append_terms(archive_.read_whole_terms(part_.name), table_.whole_terms(), svd::TermEntry::whole_matrix);
    return std::move(part_);
  }

 private:
  void append_tile(index_t t) {
    const auto at = static_cast<std::size_t>(t);
    part_.tiles.push_back({table_.structure(t), table_.rank(t), table_.energies[at], table_.discarded[at]});
    append_terms(archive_.read_tiles(part_.name, svd::Range{t, t + 1}).front().terms, table_.terms_of(t), t);
  }

  void append_terms(const std::vector<svd::StoredTerm>& terms, std::span<const svd::TermEntry> entries, index_t tile) {
    index_t at = offsets_[static_cast<std::size_t>(tile < 0 ? table_.grid.size() : tile)];
    for (std::size_t n = 0; n < terms.size(); ++n) {
      const svd::StoredTerm& term = terms[n];
      part_.append(parameters_.empty() ? term : svd::with_parameters(term, parameters_.data() + at), tile);
      at += svd::parameter_count(entries[n], term.height, term.width);
    }
  }

  const svd::FactorArchive& archive_;
  const svd::MatrixEntry& table_;
  const std::vector<float>& parameters_;
  std::vector<index_t> offsets_;
  MatrixPart part_{.grid = table_.grid};
};

}  // namespace

void write_healed(const comm::Communicator& comm, const svd::FactorArchive& archive, const ParametersOf& parameters,
                  const std::string& options, const std::filesystem::path& output) {
  svd::ArchiveInfo info = archive.info();
  info.header.program_version = HACK_VERSION;
  info.header.options = options;
  svd::FactorArchiveWriter writer(comm, output, info);
  for (const std::string& name : archive.matrices()) {
    const std::vector<float> trained = parameters(name);
    const index_t tiles = archive.matrix(name).grid.size();
    MatrixPart part{.grid = archive.matrix(name).grid};
    svd::collective_try(comm, [&] {
      part = HealedPart(archive, name, trained)
                 .make(svd::even_part(tiles, comm.size(), comm.rank()), comm.rank() + 1 == comm.size());
    });
    writer.write(part);
  }
  writer.finish();
}

}  // namespace hack::model
