#include "jobs/compression/model_files.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "comm/collectives.hpp"
#include "jobs/session/file_options.hpp"
#include "kernels/error.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::jobs {

ModelFiles::ModelFiles(const Session& session, const std::string& model, const std::string& archive,
                       const SelectionOptions& selection)
    : checkpoint_(model::Checkpoint::open(model)) {
  for (const std::string& warning : checkpoint_->warnings()) session.log().info("warning: {}", warning);
  const std::optional<svd::RankRule> rule = selection.rule();
  validate(!rule || !archive.empty(), "--{} chooses ranks of an --archive, but none is given",
           rule ? to_string(rule->kind) : "");
  if (archive.empty()) return;
  archive_.emplace(archive);
  validate_made_from(session, *archive_, "--archive " + archive);
  if (rule) choosing_ranks([&] { selected_.emplace(*archive_, *rule, selection.format(), session.threads()); });
}

void ModelFiles::validate_made_from(const Session& session, const svd::FactorArchive& archive,
                                    const std::string& origin) const {
  checkpoint_->share_fingerprint(session.world(), session.threads());
  const std::string& made_from = archive.info().header.model_fingerprint;
  validate(made_from == checkpoint_->fingerprint(),
           "{}: made from another model (its fingerprint is {}, that of {} is {}); give the model it was made from, or "
           "compress this one",
           origin, made_from, checkpoint_->path().string(), checkpoint_->fingerprint());
}

const svd::FactorSource* ModelFiles::factors() const {
  if (selected_) return &*selected_;
  return archive_ ? &*archive_ : nullptr;
}

model::HeldType held_type(const Session& session, const ModelFiles& files) {
  const model::HeldType type = session.options().held_type();
  if (type) return type;
  const model::Checkpoint& checkpoint = files.checkpoint();
  std::map<std::string, int> widened;  // format: matrices
  for (const std::string& name : checkpoint.names()) {
    const model::TensorInfo info = checkpoint.info(name);
    if (info.rows > 1 && !checkpoint.codec(name) && !info.type.empty()) ++widened[info.type];
  }
  for (const auto& [format, matrices] : widened) {
    session.log().info(
        "warning: {} matrices in {} are held in {}, no kernel multiplies that format; a file in Q4_0 to Q8_0 runs "
        "as it is",
        matrices, format, to_string(checkpoint.exact_type()));
  }
  return {};
}

double dense_bytes(const model::Checkpoint& checkpoint, DType type) {
  double bytes = 0;
  for (const std::string& name : checkpoint.names()) {
    const model::TensorInfo info = checkpoint.info(name);
    bytes += static_cast<double>(info.rows) * static_cast<double>(info.cols) * static_cast<double>(size_of(type));
  }
  return bytes;
}

void add_model_options(CLI::App& app, std::string& model, std::string& archive) {
  app.add_option("MODEL", model, "Hugging Face directory or .gguf file")->required()->type_name(input_type);
  app.add_option("--archive", archive, "Take the matrices it holds from this factor archive")->type_name(input_type);
}

std::string read_text(const std::string& option, const std::string& path) {
  validate(!std::filesystem::is_directory(path), "{} {}: is a folder; name a file", option, path);
  std::ifstream file(path, std::ios::binary);
  validate(file.good(), "{} {}: cannot be read ({})", option, path, std::strerror(errno));
  std::string text;
  std::string piece(std::size_t{1} << 20, '\0');
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    text.append(piece, 0, static_cast<std::size_t>(file.gcount()));
  }
  validate(file.eof(), "{} {}: cannot be read to its end", option, path);
  validate(!text.empty(), "{} {}: is empty; give a file with text in it", option, path);
  return text;
}

namespace {

/// Ids of a text, and what stands in front of it.
Encoded encode_text(const model::Tokenizer& tokenizer, const std::string& text, model::BosRule rule) {
  if (rule != model::BosRule::in_front) return {tokenizer.encode(text, model::AddSpecial::yes), tokenizer.bos()};
  const std::optional<int> start = tokenizer.start();
  validate(start.has_value(),
           "the model's tokenizer names no token that begins or ends a text, and this protocol puts one in front; "
           "choose another protocol");
  Encoded encoded{tokenizer.encode(text, model::AddSpecial::no), start};
  encoded.ids.insert(encoded.ids.begin(), *start);
  return encoded;
}

}  // namespace

Encoded encode_on_root(const comm::Communicator& world, const model::Checkpoint& checkpoint, const std::string& origin,
                       const std::string& text, model::BosRule bos) {
  return encode_on_root(world, checkpoint, origin,
                        [&](const model::Tokenizer& tokenizer) { return encode_text(tokenizer, text, bos); });
}

Encoded encode_on_root(const comm::Communicator& world, const model::Checkpoint& checkpoint, const std::string& origin,
                       const std::function<Encoded(const model::Tokenizer&)>& encode) {
  Encoded encoded;
  std::vector<int> start;
  if (world.is_root()) {
    encoded = for_option(origin, [&] { return encode(checkpoint.tokenizer()); });
    if (encoded.bos) start.push_back(*encoded.bos);
  }
  comm::broadcast(world, encoded.ids);
  comm::broadcast(world, start);
  if (!start.empty()) encoded.bos = start.front();
  return encoded;
}

}  // namespace hack::jobs
