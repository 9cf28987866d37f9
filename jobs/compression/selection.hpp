#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "jobs/compression/compression.hpp"
#include "svd/archive/selected_factors.hpp"

namespace hack::jobs {

/// Which singular values are taken of an archive that keeps vectors, and how its tiles are stored then.
struct SelectionOptions {
  std::optional<double> topk, keep, tolerance;
  std::string codec = "bf16";
  std::string storage = "interpolative";

  /// Adds --topk, --keep and --tolerance, at most one of which may be given, and what depends on them.
  void add_to(CLI::App& app);

  /// Nothing where the archive is to be taken as it is.
  std::optional<svd::RankRule> rule() const;
  svd::TileFormat format() const;
};

/// Whether a file is a factor archive, or another file of HDF5.
bool is_archive(const std::string& path);

/// How an archive that keeps vectors was made, with another rank rule and another form of its tiles: the options with
/// which `compress` would have made the selection. An Error where the archive does not say how it was made.
CompressionOptions selection_options(const svd::FactorArchive& vectors, const CompressionOptions& wanted);

/// The error of an archive that cannot give ranks, with the options that make one that can.
[[noreturn]] void refuse_ranks(const svd::RankError& error);

/// What `choose` makes, which is a svd::SelectedFactors or holds one.
template <class F>
auto choosing_ranks(F choose) {
  try {
    return choose();
  } catch (const svd::RankError& error) {
    refuse_ranks(error);
  }
}

/// Makes a smaller archive of one that keeps vectors, as compressing the model by `options` would: the same to the
/// byte. Collective.
Compressed compress_archive(const Session& session, const svd::FactorArchive& vectors,
                            const CompressionOptions& options, const std::filesystem::path& output);

}  // namespace hack::jobs
