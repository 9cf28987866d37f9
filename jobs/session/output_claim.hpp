#pragma once

#include <filesystem>
#include <string>

#include "comm/output_claim.hpp"
#include "jobs/session/session.hpp"

namespace hack::jobs {

/// Returns this run's right to write an output, to be kept until the output is whole: a second run that would write the
/// same file, or go on with it, ends before it has changed anything. An Error that names `option` and `output` where
/// another run writes it, or where it cannot be written; a message where its file system has no locks. Collective.
comm::OutputClaim claim_output(const Session& session, const std::string& option, const std::filesystem::path& output);

}  // namespace hack::jobs
