#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/archive/matrix_part.hpp"

namespace hack::testing {

/// Which tiles an example holds.
enum class Example { all_kinds, without_skeleton, without_spectra, sums };

svd::ArchiveInfo example_info(Codec type);

svd::TileChoice choice_of(const svd::Tile& tile, Example example = Example::all_kinds);

/// Rows of an interpolative tile that are skeleton rows.
std::vector<index_t> skeleton_of(const svd::Tile& tile, const svd::TileChoice& choice);

float sigma_of(const svd::Tile& tile, index_t k);

/// A term whose numbers say which tile and which array they belong to.
svd::StoredTerm example_term(const svd::Tile& tile, const svd::TileChoice& choice, Codec codec);

/// A second term of some tiles, and one of a whole matrix.
bool has_second_term(const svd::Tile& tile);
svd::TileChoice second_choice(const svd::Tile& tile);
svd::Tile whole(const svd::TileGrid& grid);

/// What `comm.rank()` of `comm.size()` ranks holds: even parts, and nothing on rank 1 of three or more.
svd::MatrixPart example_part(const comm::Communicator& comm, const std::string& name, const svd::TileGrid& grid,
                             Codec codec, Example example = Example::all_kinds);

/// Writes an archive of four matrices with tiles of every structure. Collective.
void write_example(const comm::Communicator& comm, const std::filesystem::path& path, Codec type,
                   Example example = Example::all_kinds);

}  // namespace hack::testing
