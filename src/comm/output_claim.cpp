#include "comm/output_claim.hpp"

#include "comm/collectives.hpp"
#include "kernels/error.hpp"

namespace hack::comm {

OutputClaim::OutputClaim(const Communicator& comm, const std::filesystem::path& output) {
  std::string problem;
  if (comm.is_root()) {
    try {
      lock_ = io::OutputLock::take(output);
      if (!lock_) holder_ = io::OutputLock::holder_of(output);
    } catch (const Error& error) {
      problem = error.what();
    }
  }
  broadcast(comm, problem);
  validate(problem.empty(), "{}", problem);
  broadcast(comm, holder_);
  if (!comm.is_root() && is_ours()) guard_.emplace(io::OutputLock::path_of(output));
}

}  // namespace hack::comm
