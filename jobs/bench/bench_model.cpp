#include "jobs/bench/bench_model.hpp"

#include <nlohmann/json.hpp>

#include "jobs/compression/storage_words.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/random_checkpoint.hpp"

namespace hack::jobs {

void BenchModel::add_options(CLI::App& app) {
  add_model_options(app, model_, archive_);
  auto* model = app.get_option("MODEL")->required(false);
  auto* shape = app.add_option("--shape", shape_, "In place of MODEL: a published shape with random weights")
                    ->excludes(model)
                    ->excludes("--archive");
  app.add_option("--layers", layers_, "Its first layers alone")->needs(shape)->check(whole(1, 1L << 20));
  auto* rank = app.add_option("--rank", rank_, "Random factors of this rank for its MLP, in tiles of 128")
                   ->needs(shape)
                   ->check(whole(0, 128));
  app.add_option("--storage", storage_, "How they are stored")
      ->needs(rank)
      ->transform(storage_words())
      ->capture_default_str();
  app.add_option(
         "--codec", codec_,
         "Numbers of random factors, or without --rank those of all matrices but the embedding table; f32, bf16 "
         "and f16 are held as --dtype or --types says, others as they are")
      ->check(codec_words())
      ->capture_default_str();
}

void BenchModel::open(const Session& session) {
  if (shape_.empty()) {
    files_.emplace(session, model_, archive_);
    return;
  }
  const std::optional<index_t> layers = layers_ ? std::optional<index_t>(*layers_) : std::nullopt;
  const std::optional<Codec> of_weights = !rank_ && has_scales(codec()) ? std::optional<Codec>(codec()) : std::nullopt;
  files_.emplace(std::make_unique<model::RandomCheckpoint>(shape_, layers, 0, of_weights));
  if (!rank_) return;
  factors_.emplace(*rank_, svd::parse_storage(storage_), parse_codec(codec_));
  factors_->add_mlp(files_->checkpoint().config());
}

model::WeightSource BenchModel::source(model::HeldType type) const {
  model::WeightSource source = files_->source(type);
  if (factors_) return {source.checkpoint, &*factors_, type};
  return source;
}

void BenchModel::describe(nlohmann::json& row) const {
  row[shape_.empty() ? "model" : "shape"] = shape_.empty() ? model_ : shape_;
  row["layers"] = checkpoint().config().layers;
  if (rank_ || has_scales(codec())) row["codec"] = codec_;
  if (!rank_) return;
  row["rank"] = *rank_;
  row["storage"] = storage_;
}

}  // namespace hack::jobs
