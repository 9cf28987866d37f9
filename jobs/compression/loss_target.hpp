#pragma once

#include <filesystem>

#include "jobs/compression/compression.hpp"

namespace hack::jobs {

/// The smallest archive found for a loss.
struct TargetedArchive {
  Compressed compressed;
  double keep = 1;
  double predicted = 0;  ///< loss, from the measured sensitivities and the attempts before
  double measured = 0;   ///< loss on the probe
  int attempts = 0;
};

/// Writes the smallest archive whose loss, the mean KL divergence per token from the dense model on the probe window,
/// is at most `target` nats. The sensitivities of matrices by themselves predict it up to a factor, which each attempt
/// corrects:
///
///     aim ─ smallest_keep ─ archive ─ measured loss ─┬─ close below the target: done
///      └────── target · predicted / measured ────────┘  at most four times
///
/// The smallest archive that meets the target stays. An Error where none does. Collective; the same on every rank.
TargetedArchive compress_to_loss(const Session& session, Compressor& compressor, CompressionOptions options,
                                 double target, const std::filesystem::path& output);

}  // namespace hack::jobs
