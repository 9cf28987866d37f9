#include "model/checkpoint/checkpoint.hpp"

#include <span>

#include "comm/collectives.hpp"
#include "io/digest.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/fingerprint.hpp"
#include "model/checkpoint/gguf_checkpoint.hpp"
#include "model/checkpoint/hf_cache.hpp"
#include "model/checkpoint/hf_checkpoint.hpp"
#include "model/checkpoint/llama_tensors.hpp"

namespace hack::model {

namespace fs = std::filesystem;

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& model) {
  std::error_code error;
  const fs::file_status status = fs::status(model, error);
  validate(fs::exists(status), "cannot open model {} (there is no such file or directory)", model.string());
  if (fs::is_directory(status)) return std::make_unique<HfCheckpoint>(model_directory(model));
  validate(model.extension() == ".gguf",
           "cannot open model {} (neither a directory nor a .gguf file); give the directory with config.json, or a "
           ".gguf file",
           model.string());
  return std::make_unique<GgufCheckpoint>(model);
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> out;
  for (TensorSpec& spec : llama_tensors(config_)) out.push_back(std::move(spec.name));
  return out;
}

void Checkpoint::read_encoded(const std::string& name, svd::Range, svd::Range, std::byte*, std::byte*) const {
  fail("tensor '{}' of {} has no codec", name, path_.string());
}

std::uint64_t Checkpoint::digest(const std::string& name, index_t first, index_t rows) const {
  std::vector<float> numbers(static_cast<std::size_t>(rows * info(name).cols));
  read(name, first, 0, {numbers.data(), rows, info(name).cols});
  return io::digest64(std::as_bytes(std::span(numbers)));
}

const std::string& Checkpoint::fingerprint() const {
  if (fingerprint_.empty()) fingerprint_ = fingerprint_of(*this);
  return fingerprint_;
}

void Checkpoint::share_fingerprint(const comm::Communicator& comm, int threads) const {
  // What one rank knows already another may not.
  const bool is_known = comm::all_reduce_max(comm, fingerprint_.empty() ? 1.0 : 0.0) == 0;
  if (!is_known) fingerprint_ = fingerprint_of(*this, comm, threads);
}

}  // namespace hack::model
