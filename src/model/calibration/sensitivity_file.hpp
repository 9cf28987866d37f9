#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "model/calibration/loss_sensitivity.hpp"

namespace hack::model {

/// Sensitivities on disk, so that the next budget for the same model, text and options need not measure them again:
/// an io::RecordFile that belongs to `key` (what was measured, as text), with a record for every matrix: rows, columns,
/// height and width of a tile, divergence, discarded energy, singular values, errors in codecs.
///
/// Writes the file, whole or not at all. Collective.
void write_sensitivities(const comm::Communicator& comm, const std::filesystem::path& path, const std::string& key,
                         const std::vector<MatrixSensitivity>& matrices);

/// Reads them in the order of `names`; nothing where there is no such file, or it is of another key or damaged: it is
/// then measured and written anew.
std::optional<std::vector<MatrixSensitivity>> read_sensitivities(const std::filesystem::path& path,
                                                                 const std::string& key,
                                                                 const std::vector<std::string>& names);

}  // namespace hack::model
