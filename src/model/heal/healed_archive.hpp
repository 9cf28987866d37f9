#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "svd/archive/factor_archive.hpp"

namespace hack::model {

/// Gives the parameters of a whole matrix, tile after tile, on every rank; none where nothing of it is trained.
/// Collective.
using ParametersOf = std::function<std::vector<float>(const std::string& name)>;

/// Writes `archive` once more with other parameters: structures, ranks, codes and marks stay. `options` replaces what
/// the archive says of the run that made it. Every rank writes its share of the tiles of each matrix. Collective.
void write_healed(const comm::Communicator& comm, const svd::FactorArchive& archive, const ParametersOf& parameters,
                  const std::string& options, const std::filesystem::path& output);

}  // namespace hack::model
