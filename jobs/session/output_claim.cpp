#include "jobs/session/output_claim.hpp"

#include "kernels/error.hpp"

namespace hack::jobs {

comm::OutputClaim claim_output(const Session& session, const std::string& option, const std::filesystem::path& output) {
  const std::string name = option + " " + output.string();
  return for_option(name, [&] {
    comm::OutputClaim claim(session.world(), output);
    validate(claim.is_ours(), "another run is writing it ({}); wait for its end, or name another file", claim.holder());
    if (session.world().is_root() && !claim.is_held()) {
      session.log().info(
          "{}: no locks here (the file system has none, or HDF5_USE_FILE_LOCKING switches them off); a second run that "
          "writes it would not be noticed",
          name);
    }
    return claim;
  });
}

}  // namespace hack::jobs
