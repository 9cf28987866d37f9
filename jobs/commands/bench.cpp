#include <nlohmann/json.hpp>

#include "jobs/bench/bench_allreduce.hpp"
#include "jobs/bench/bench_apply.hpp"
#include "jobs/bench/bench_draft.hpp"
#include "jobs/bench/bench_inference.hpp"
#include "jobs/bench/bench_model.hpp"
#include "jobs/bench/bench_svd.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"

namespace hack::jobs {
namespace {

class BenchCommand : public Command {
 public:
  explicit BenchCommand(CLI::App& parent)
      : Command(parent, "bench", "Time one part, with what the hardware would allow beside it") {
    app_.add_option("PART", part_,
                    "decode: one token after another; prefill: one prompt; perplexity: windows with their losses; "
                    "apply: one matrix, dense and as factors; without MODEL: svd, random tiles; allreduce, sums over "
                    "ranks")
        ->required()
        ->check(one_of({"decode", "prefill", "perplexity", "apply", "svd", "allreduce"}));
    model_.add_options(app_);
    app_.parse_complete_callback([this] {
      if (part_ != "svd" && part_ != "allreduce" && !model_.is_named()) throw CLI::RequiredError("MODEL or --shape");
    });
    app_.add_option("--tokens", tokens_, "Tokens decoded (64), of the prompt (512) or of a window (2048)")
        ->check(whole(2, 1L << 20));
    app_.add_option("--repeats", repeats_, "Timed runs, after one that is not counted")
        ->check(whole(1, 1000))
        ->capture_default_str();
    draft_.add_to(app_);
    app_.add_option("--prompt", prompt_, "With --draft: text whose continuation is decoded, in place of made-up tokens")
        ->needs("--draft");
    apply_.add_options(app_);
    svd_.add_options(app_);
    allreduce_.add_options(app_);
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    if (part_ == "svd") return svd_.run(session, repeats_);
    if (part_ == "allreduce") return allreduce_.run(session, repeats_);
    model_.open(session);
    if (part_ == "apply") return apply_.run(session, model_.checkpoint().config(), model_.codec(), repeats_);
    const bool is_random = app_.get_option("--shape")->count() > 0, has_rank = app_.get_option("--rank")->count() > 0;
    validate(app_.get_option("--codec")->count() == 0 || has_rank || (is_random && has_scales(model_.codec())),
             "--codec {} is of random weights; give --shape, and for f32, bf16 and f16 --rank R, or leave it out",
             app_.get_option("--codec")->as<std::string>());
    validate(has_rank || !has_scales(model_.codec()) || !common_.held_type(),
             "--codec {} does not go with --dtype {}: weights in this codec would be widened; leave one of them out",
             app_.get_option("--codec")->as<std::string>(), app_.get_option("--dtype")->as<std::string>());
    validate(!draft_.is_given() || (part_ == "decode" && !is_random),
             "--draft is for decode, and needs the MODEL that its archive was made from");
    return with_device(session, [&]<Device D>() { return run_on<D>(session); });
  }

 private:
  template <Device D>
  nlohmann::json run_on(Session& session) {
    const model::HeldType type = common_.held_type();
    const auto bench = [&](long tokens) { return InferenceBench{type, tokens_ > 0 ? tokens_ : tokens, repeats_}; };
    if (draft_.is_given()) return bench_draft<D>(session, model_, bench(64), draft_, prompt_);
    if (part_ == "decode") return bench_decode<D>(session, model_, bench(64));
    if (part_ == "prefill") return bench_prefill<D>(session, model_, bench(512));
    return bench_perplexity<D>(session, model_, bench(2048));
  }

  std::string part_;
  BenchModel model_;
  ApplyBench apply_;
  SvdBench svd_;
  AllreduceBench allreduce_;
  DraftOptions draft_;
  std::string prompt_;
  long tokens_ = 0;
  int repeats_ = 5;
};

}  // namespace

std::unique_ptr<Command> make_bench(CLI::App& app) { return std::make_unique<BenchCommand>(app); }

}  // namespace hack::jobs
