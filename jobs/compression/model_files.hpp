#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "comm/communicator.hpp"
#include "jobs/compression/selection.hpp"
#include "jobs/session/session.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/evaluate/perplexity_protocol.hpp"
#include "model/llama/linear_layer.hpp"
#include "svd/archive/factor_archive.hpp"

namespace hack::jobs {

/// A model as named on the command line: the checkpoint, and with --archive the factors of its compressed matrices.
class ModelFiles {
 public:
  /// Opens both on this rank, and logs what is odd about the model. An Error if the archive was made from another
  /// model. Where `selection` has a rank rule, factors are what that takes of the archive's vectors. Collective.
  ModelFiles(const Session& session, const std::string& model, const std::string& archive,
             const SelectionOptions& selection = {});
  /// A checkpoint that is no file.
  explicit ModelFiles(std::unique_ptr<model::Checkpoint> checkpoint) : checkpoint_(std::move(checkpoint)) {}

  /// An Error that begins with `origin` (an option and its value) where an archive was made from another model.
  /// Collective.
  void validate_made_from(const Session& session, const svd::FactorArchive& archive, const std::string& origin) const;

  const model::Checkpoint& checkpoint() const { return *checkpoint_; }
  const svd::FactorArchive* archive() const { return archive_ ? &*archive_ : nullptr; }
  /// Where compressed matrices come from; null: nowhere.
  const svd::FactorSource* factors() const;
  model::WeightSource source(model::HeldType type) const { return {*checkpoint_, factors(), type}; }

 private:
  std::unique_ptr<model::Checkpoint> checkpoint_;
  std::optional<svd::FactorArchive> archive_;
  std::optional<svd::SelectedFactors> selected_;  // of the archive
};

/// What weights are to be held in. Where that is what they are stored in, says which matrices cannot be: kernels do not
/// know their format.
model::HeldType held_type(const Session& session, const ModelFiles& files);

/// Bytes of all weights of a model, dense in `type`.
double dense_bytes(const model::Checkpoint& checkpoint, DType type);

/// Adds the options MODEL and --archive.
void add_model_options(CLI::App& app, std::string& model, std::string& archive);

/// The text of a file. An Error, naming option and file, if it cannot be read or is empty.
std::string read_text(const std::string& option, const std::string& path);

/// Tokens of a text, with the BOS rule of the model.
struct Encoded {
  std::vector<int> ids;
  std::optional<int> bos;
};

/// Encodes on rank 0; all ranks get the ids. `origin` (an option and its value) begins the Error where the text is not
/// UTF-8, or where `bos` asks for a token in front that the tokenizer does not have.
Encoded encode_on_root(const comm::Communicator& world, const model::Checkpoint& checkpoint, const std::string& origin,
                       const std::string& text, model::BosRule bos = model::BosRule::once);
/// The same with ids that `encode` makes with the model's tokenizer, on rank 0.
Encoded encode_on_root(const comm::Communicator& world, const model::Checkpoint& checkpoint, const std::string& origin,
                       const std::function<Encoded(const model::Tokenizer&)>& encode);

}  // namespace hack::jobs
