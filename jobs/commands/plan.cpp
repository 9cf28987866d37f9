#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "jobs/commands/commands.hpp"
#include "jobs/study/cost_model.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/compression/storage_words.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "jobs/session/system_info.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/random_checkpoint.hpp"
#include "model/llama/memory_need.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

constexpr int most_ranks = 65536;

/// Codecs for an MLP that is too large, the largest first, and what they cost: KL divergence from the dense model, by
/// jobs/results/smollm2-135m-few-bits.json.
constexpr std::pair<Codec, double> codecs_and_losses[] = {
    {Codec::q8_0, 0.0002}, {Codec::q5_0, 0.014}, {Codec::iq4_nl, 0.04}, {Codec::q3_64, 0.21}};

/// One tensor × data grid of the ranks.
struct Grid {
  int tensor;
  int data;
  model::MemoryNeed need;  ///< of the rank that needs most
  double memory;           ///< with the program itself
  bool fits;
  double decode, prefill, perplexity;  ///< tokens/s: one sequence; all copies; all copies
};

class PlanCommand : public Command {
 public:
  explicit PlanCommand(CLI::App& parent)
      : Command(parent, "plan", "What a job needs and takes, before it is sent: every figure is the model's") {
    app_.add_option("MODEL", model_, "Hugging Face directory or .gguf file")->type_name(input_type);
    app_.add_option("--shape", shape_, "In place of MODEL: a published shape (llama-3.1-8b, …)")->excludes("MODEL");
    app_.add_option("--layers", layers_, "Its first layers alone")->needs("--shape")->check(whole(1, 1L << 20));
    app_.add_option("--gpus,--ranks", ranks_, "Ranks of the job, one a GPU")->required()->check(whole(1, most_ranks));
    app_.add_option("--machine", machine_, "a100-80gb, h100, h200, or the .json of a study: what it measured")
        ->type_name(input_type)
        ->capture_default_str();
    app_.add_option("--keep", keep_,
                    "Bytes of the compressed MLP over bytes of the dense MLP in 16-bit numbers. Without it the MLP is "
                    "dense, or in --codec where that is a quantized one")
        ->check(number_above(0, 2));
    app_.add_option("--factor-type,--codec", codec_, "Number type of factors or of quantized tiles")
        ->check(codec_words())
        ->capture_default_str();
    app_.add_option("--context", context_, "Tokens of a window, and in the cache")
        ->check(whole(2, 1L << 24))
        ->capture_default_str();
    common_.add_to(app_, {"--dtype", "--threads"});
  }

  json run(Session& session) override {
    validate(model_.empty() != shape_.empty(), "plan needs a model: give MODEL, or --shape");
    const auto checkpoint = open_model();
    const model::LlamaConfig& config = checkpoint->config();
    const model::HeldType held = common_.held_type();
    const Machine machine = open_machine(machine_);
    if (machine.flops <= 0 || machine.read_bandwidth <= 0) {
      session.log().info("warning: --machine {}: the study timed no prefill or no decode; times are not known",
                         machine_);
    }
    const model::RunShape shape = shape_of(*checkpoint, session.threads());
    const CostModel cost(machine, workload(config, shape));
    std::vector<Grid> grids;
    for (int tensor = 1; tensor <= ranks_; ++tensor) {
      if (ranks_ % tensor == 0) grids.push_back(plan(cost, shape, tensor));
    }
    if (session.world().is_root()) print(config, machine, cost, grids);
    const Grid* best = best_of(grids, &Grid::perplexity);
    if (best == nullptr) fail("{}", what_would_fit(machine, config, shape));
    json results = {{"kind", "model"},
                    {"machine", to_json(machine)},
                    {"dtype", model::name_of(held)},
                    {"program_bytes", program_bytes(machine)},
                    {"grids", json::array()},
                    {"best_for_perplexity", best->tensor},
                    {"best_for_one_sequence", best_of(grids, &Grid::decode)->tensor}};
    if (const double seconds = cost.factorization_seconds(ranks_); seconds > 0)
      results["factorization_seconds"] = seconds;
    for (const Grid& grid : grids) results["grids"].push_back(describe(grid));
    return results;
  }

 private:
  std::unique_ptr<model::Checkpoint> open_model() const {
    if (shape_.empty()) return model::Checkpoint::open(model_);
    return std::make_unique<model::RandomCheckpoint>(shape_, layers_, 0);
  }

  /// Bytes of a number in a codec, scales included, over those of 16 bits.
  static double share_of(Codec codec) {
    const index_t n = 4096;  // a row
    return static_cast<double>(code_bytes(codec, n) + scale_bytes(codec, n)) / static_cast<double>(2 * n);
  }

  model::RunShape shape_of(const model::Checkpoint& checkpoint, int threads) const {
    const model::HeldType held = common_.held_type();
    const Codec codec = parse_codec(codec_);
    std::optional<double> keep = keep_;
    if (!keep && has_scales(codec)) keep = share_of(codec);
    return {.type = held.value_or(checkpoint.exact_type()),
            .stored = held ? nullptr : &checkpoint,
            .mlp_keep = keep,
            .factors = codec,
            .context = context_,
            .threads = threads};
  }

  /// Means over a model whose matrices are held in several ways.
  Workload workload(const model::LlamaConfig& config, const model::RunShape& shape) const {
    const model::MemoryNeed held = model::largest_need(config, shape, 1);
    const model::MemoryNeed wide = model::largest_need(config, {.type = DType::f32}, 1);
    const double bytes_per_weight = size_of(DType::f32) * (held.weights - held.mlp) / (wide.weights - wide.mlp);
    const double keep = shape.mlp_keep.value_or(1);
    return {.config = config,
            .bytes_per_weight = bytes_per_weight,
            .mlp_keep = keep,
            .mlp_width = size_of(DType::f32) * held.mlp / wide.mlp / keep / bytes_per_weight,
            .context = static_cast<double>(context_)};
  }

  /// Bytes that a process takes before it holds a model: on a CPU this one's own memory; of a card 5 % for context and
  /// libraries.
  static double program_bytes(const Machine& machine) {
    return machine.name == "measured" ? peak_memory_bytes() : 0.05 * machine.memory;
  }

  Grid plan(const CostModel& cost, const model::RunShape& shape, int tensor) const {
    const int data = ranks_ / tensor;
    const model::MemoryNeed need = model::largest_need(cost.workload().config, shape, tensor);
    const double memory = need.total() + program_bytes(cost.machine());
    const auto context = static_cast<double>(context_);
    return {tensor,
            data,
            need,
            memory,
            memory <= cost.machine().memory,
            1 / cost.decode_seconds(tensor),
            data * context / cost.prefill_seconds(tensor, context),
            data * context / cost.window_seconds(tensor)};
  }

  static const Grid* best_of(const std::vector<Grid>& grids, double Grid::*rate) {
    const Grid* best = nullptr;
    for (const Grid& grid : grids) {
      if (grid.fits && (best == nullptr || grid.*rate > best->*rate)) best = &grid;
    }
    return best;
  }

  static json describe(const Grid& grid) {
    return {{"kind", "model"},
            {"tensor_parallel", grid.tensor},
            {"data_parallel", grid.data},
            {"memory_bytes", grid.memory},
            {"weight_bytes", grid.need.weights},
            {"cache_bytes", grid.need.cache},
            {"activation_bytes", grid.need.activations},
            {"fits", grid.fits},
            {"decode_tokens_per_second", grid.decode},
            {"prefill_tokens_per_second", grid.prefill},
            {"perplexity_tokens_per_second", grid.perplexity}};
  }

  void print(const model::LlamaConfig& config, const Machine& machine, const CostModel& cost,
             const std::vector<Grid>& grids) const {
    fmt::print("{}, {} layers, on {} ranks of {} ({} each); all times are the model's, nothing is measured\n",
               shape_.empty() ? model_ : shape_, config.layers, ranks_, machine.name, format_bytes(machine.memory));
    fmt::print("{:<6} {:>13} {:>11} {:>10} {:>10} {:>11} {:>5} {:>12} {:>13} {:>15}\n", "kind", "tensor × data",
               "memory", "weights", "cache", "activations", "fits", "one sequence", "prefill", "perplexity");
    for (const Grid& grid : grids) {
      fmt::print("{:<6} {:>13} {:>11} {:>10} {:>10} {:>11} {:>5} {:>8.1f} t/s {:>9.0f} t/s {:>11.0f} t/s\n", "model",
                 fmt::format("{} × {}", grid.tensor, grid.data), format_bytes(grid.memory),
                 format_bytes(grid.need.weights), format_bytes(grid.need.cache), format_bytes(grid.need.activations),
                 grid.fits ? "yes" : "no", grid.decode, grid.prefill, grid.perplexity);
    }
    if (const double seconds = cost.factorization_seconds(ranks_); seconds > 0) {
      fmt::print("model  factorization of the MLP: {}\n", format_seconds(seconds));
    }
    if (const Grid* best = best_of(grids, &Grid::perplexity)) {
      fmt::print("model  most tokens of a perplexity: --tensor-parallel {}; quickest sequence: --tensor-parallel {}\n",
                 best->tensor, best_of(grids, &Grid::decode)->tensor);
    }
    std::fflush(stdout);  // an error may follow
  }

  /// Prints how much memory is missing and names remedies: more ranks, a smaller archive.
  std::string what_would_fit(const Machine& machine, const model::LlamaConfig& config, model::RunShape shape) const {
    const auto memory = [&](int tensor) {
      return model::largest_need(config, shape, tensor).total() + program_bytes(machine);
    };
    std::string text = fmt::format("it does not fit: a rank needs {} even where all {} share one copy, {} has {}",
                                   format_bytes(memory(ranks_)), ranks_, machine.name, format_bytes(machine.memory));
    int enough = ranks_;
    while (enough <= most_ranks / 2 && memory(enough) > machine.memory) enough *= 2;
    if (memory(enough) <= machine.memory) text += fmt::format("; use {} ranks", enough);
    for (const auto& [codec, loss] : codecs_and_losses) {
      shape.factors = codec;
      shape.mlp_keep = share_of(codec);
      if (memory(ranks_) > machine.memory) continue;
      return text + fmt::format("; or hack compress --codec {} (SmolLM2-135M loses {} nats a token by it)",
                                to_string(codec), loss);
    }
    return text + "; or shorten --context";
  }

  std::string model_, shape_;
  std::optional<long> layers_;
  int ranks_ = 1;
  std::string machine_ = "h100";
  std::optional<double> keep_;
  std::string codec_ = "bf16";
  long context_ = 2048;
};

}  // namespace

std::unique_ptr<Command> make_plan(CLI::App& app) { return std::make_unique<PlanCommand>(app); }

}  // namespace hack::jobs
