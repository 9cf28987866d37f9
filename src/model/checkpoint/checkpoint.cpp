#include "model/checkpoint/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/gguf_checkpoint.hpp"
#include "model/checkpoint/hf_checkpoint.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "io/hash.hpp"

namespace hack::model {

namespace fs = std::filesystem;

namespace {

constexpr index_t sample_rows = 8;
constexpr index_t sample_cols = 256;

/// Start of sample i of `count`, each `length` long, spread evenly over n.
index_t sample_start(index_t i, index_t count, index_t n, index_t length) {
  return count > 1 ? (n - length) * i / (count - 1) : 0;
}

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& model) {
  std::error_code error;
  const fs::file_status status = fs::status(model, error);
  validate(fs::exists(status), "cannot open model {} (there is no such file or directory)", model.string());
  if (fs::is_directory(status)) return std::make_unique<HfCheckpoint>(model);
  validate(model.extension() == ".gguf",
           "cannot open model {} (neither a directory nor a .gguf file) give the directory with config.json, or a "
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

std::string Checkpoint::fingerprint() const {
  io::Hash hash;
  for (const SizeField& field : size_fields()) {
    if (field.in_fingerprint) hash.add(config_.*field.member);
  }
  for (const FlagField& field : flag_fields()) {
    if (field.always_in_fingerprint || config_.*field.member) hash.add(index_t{config_.*field.member});
  }
  for (const NumberField& field : number_fields()) hash.add(config_.*field.member);
  hash.add(static_cast<float>(config_.rope.theta));
  std::array<float, sample_cols> sample;
  for (const TensorSpec& spec : llama_tensors(config_)) {
    hash.add(spec.name);
    hash.add(spec.rows);
    hash.add(spec.cols);
    const index_t rows = std::min(sample_rows, spec.rows);
    const index_t cols = std::min(sample_cols, spec.cols);
    for (index_t i = 0; i < rows; ++i) {
      read(spec.name, sample_start(i, rows, spec.rows, 1), sample_start(i, rows, spec.cols, cols),
           {sample.data(), 1, cols});
      hash.add(std::as_bytes(std::span(sample.data(), static_cast<std::size_t>(cols))));
    }
  }
  return hash.digits();
}

}  // namespace hack::model
