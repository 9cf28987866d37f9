#include "model/llama/generate.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/draft_options.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/option_checks.hpp"
#include "kernels/error.hpp"
#include "model/chat/chat_template.hpp"
#include "model/tokenizer/text_stream.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::jobs {
namespace {

class GenerateCommand : public Command {
 public:
  explicit GenerateCommand(CLI::App& parent) : Command(parent, "generate", "Continue a prompt") {
    add_model_options(app_, model_, archive_);
    selection_.add_to(app_);
    auto* prompt = app_.add_option_group("prompt", "One of");
    prompt->add_option("--prompt", prompt_, "Text to continue");
    prompt->add_option("--prompt-file", prompt_file_, "The same from a file in UTF-8; -: from standard input")
        ->type_name(input_type);
    prompt
        ->add_option("--chat", chat_file_,
                     "Turns of a conversation to answer, a JSON list of {\"role\", \"content\"} or one a line, written "
                     "out by the model's chat template; -: from standard input. Ends where the turn ends")
        ->type_name(input_type);
    prompt->require_option(1);
    app_.add_option("--max-tokens", max_tokens_, "New tokens")->check(whole(1, 1L << 24))->capture_default_str();
    app_.add_option("--temperature", sampler_.temperature, "0: always the likeliest token")
        ->check(number(0, 1e6))
        ->capture_default_str();
    app_.add_option("--top-p", sampler_.top_p, "Draw from the likeliest tokens that together hold this probability")
        ->check(number_above(0, 1))
        ->capture_default_str();
    app_.add_option("--top-k", sampler_.top_k, "Draw from so many of the likeliest tokens; 0: from all")
        ->check(whole(0, 1L << 30))
        ->capture_default_str();
    app_.add_option("--min-p", sampler_.min_p,
                    "Leave out tokens less probable than this share of the likeliest one's probability")
        ->check(number(0, 1))
        ->capture_default_str();
    app_.add_option("--repetition-penalty", sampler_.repetition_penalty,
                    "Above 1: tokens already seen become less likely")
        ->check(number(0.001, 1000))
        ->capture_default_str();
    app_.add_option("--seed", sampler_.seed, "Of the draws")->check(whole(0, largest_seed))->capture_default_str();
    app_.add_flag("--stop-at-eos", stop_at_eos_,
                  "End in front of the first token that ends a text or a turn, if there is one before --max-tokens");
    draft_.add_to(app_);
    app_.add_option("--stop", stops_, "Texts that end it where they come up; they are not printed");
    common_.add_to(app_);
  }

  nlohmann::json run(Session& session) override {
    return with_device(session, [&]<Device D>() { return run_on<D>(session); });
  }

 private:
  template <Device D>
  nlohmann::json run_on(Session& session) {
    model::Sampler sampler(sampler_);
    const ModelFiles files(session, model_, archive_, selection_);
    validate(std::count(stops_.begin(), stops_.end(), "") == 0, "--stop: is empty; give a text, or leave it out");
    const Encoded prompt = read_prompt(session, files.checkpoint());
    validate(!prompt.ids.empty(), "{}: is empty, and the model puts no token of its own before a text; give some",
             !chat_file_.empty()    ? "--chat " + chat_file_
             : prompt_file_.empty() ? "--prompt"
                                    : "--prompt-file " + prompt_file_);
    warn_of_length(session, files.checkpoint(), std::ssize(prompt.ids) + max_tokens_);
    Queue<D> queue(session.threads(), session.products());
    const model::HeldType type = held_type(session, files);
    model::Llama<D> llama(files.source(type), session.world(), queue);
    session.log().info("{} weights in {} on {} rank(s), prompt of {} tokens", model::name_of(type),
                       format_bytes(static_cast<double>(llama.bytes_held())), session.world().size(),
                       prompt.ids.size());

    std::optional<model::Tokenizer> tokenizer;
    if (session.world().is_root()) tokenizer.emplace(files.checkpoint().tokenizer());
    model::TextStream stream(stops_);
    std::string text;
    const auto show = [&](const std::string& piece) {
      fmt::print("{}", piece);
      std::fflush(stdout);
      text += piece;
    };
    const auto print = [&](int id) {
      if (tokenizer) show(stream.add(tokenizer->text(id)));
      return !stream.is_stopped();
    };
    const model::GenerateOptions options{
        max_tokens_, stop_at_eos_ || !chat_file_.empty() ? ends(session, files) : std::vector<int>{}, !stops_.empty()};
    nlohmann::json draft;
    const model::Generated generated =
        draft_.is_given() ? generate_drafted<D>(session, files, {llama, prompt.ids, options, sampler, print}, draft)
                          : model::generate(llama, std::span<const int>(prompt.ids), options, sampler, print);
    if (!session.world().is_root()) return {};
    show(stream.finish());
    fmt::print("\n");
    const double decoded = std::max(0.0, static_cast<double>(generated.ids.size()) - 1);
    const double rate = decoded > 0 ? decoded / generated.decode_seconds : 0;
    session.log().info("{} new tokens, {:.1f} a second after a prompt of {:.0f} ms", generated.ids.size(), rate,
                       generated.prefill_seconds * 1e3);
    nlohmann::json results = {
        {"ids", generated.ids},
        {"text", text},
        {"prompt_ids", prompt.ids},
        {"dtype", model::name_of(type)},
        {"tokens_per_second", rate},
        {"decode_seconds", generated.decode_seconds},
        {"prefill_seconds", generated.prefill_seconds},
        {"prefill_tokens_per_second", static_cast<double>(prompt.ids.size()) / generated.prefill_seconds},
        {"bytes_per_token_on_rank_0", llama.bytes_per_token()},
    };
    if (!draft.is_null()) results["draft"] = std::move(draft);
    return results;
  }

  /// What a model is to continue.
  template <Device D>
  struct Continuation {
    model::Llama<D>& llama;
    std::span<const int> prompt;
    const model::GenerateOptions& options;
    model::Sampler& sampler;
    std::function<bool(int)> on_token;
  };

  template <Device D>
  model::Generated generate_drafted(const Session& session, const ModelFiles& files, const Continuation<D>& work,
                                    nlohmann::json& report) const {
    const svd::FactorArchive archive = draft_.open(session, files);
    model::Llama<D> draft({files.checkpoint(), &archive, session.options().held_type()}, session.world(),
                          work.llama.queue());
    session.log().info("draft: weights in {} on {} rank(s)", format_bytes(static_cast<double>(draft.bytes_held())),
                       session.world().size());
    model::DraftLength length = draft_.length();
    const model::DraftedText drafted = model::generate_drafted(model::DraftedModel<D>{work.llama, draft}, work.prompt,
                                                               work.options, work.sampler, length, work.on_token);
    report = draft_.report(drafted);
    DraftOptions::log(session, report);
    return drafted.text;
  }

  Encoded read_prompt(const Session& session, const model::Checkpoint& checkpoint) const {
    if (!chat_file_.empty()) {
      const std::string turns = read_input(session, "--chat", chat_file_);
      return encode_on_root(
          session.world(), checkpoint, "--chat " + chat_file_, [&](const model::Tokenizer& tokenizer) {
            validate(!tokenizer.chat_template().empty(),
                     "the model has no chat template; write the turns out in a --prompt-file");
            const std::vector<model::ChatMessage> messages = model::read_chat(turns, "the list of turns");
            const std::string text = model::ChatTemplate(tokenizer.chat_template())
                                         .write(messages, tokenizer.bos_text(), tokenizer.eos_text());
            return Encoded{tokenizer.encode(text, model::AddSpecial::no), std::nullopt};
          });
    }
    if (prompt_file_.empty()) return encode_on_root(session.world(), checkpoint, "--prompt", prompt_);
    return encode_on_root(session.world(), checkpoint, "--prompt-file " + prompt_file_,
                          read_input(session, "--prompt-file", prompt_file_));
  }

  /// A file's text, or what comes in on rank 0's standard input, to which mpirun connects it.
  static std::string read_input(const Session& session, const std::string& option, const std::string& file) {
    if (file != "-") return read_text(option, file);
    std::string text;
    if (session.world().is_root()) text.assign(std::istreambuf_iterator<char>(std::cin), {});
    return text;
  }

  static void warn_of_length(const Session& session, const model::Checkpoint& checkpoint, index_t tokens) {
    const index_t trained = checkpoint.config().context_length;
    if (tokens <= trained) return;
    session.log().info(
        "warning: prompt and --max-tokens are {} tokens, more than the {} that the model was made for; what comes "
        "after these may make no sense",
        tokens, trained);
  }

  /// Tokens that end a text or a turn: the config's, and those of the vocabulary. The same on every rank.
  static std::vector<int> ends(const Session& session, const ModelFiles& files) {
    std::vector<int> ids = files.checkpoint().config().eos_ids;
    if (session.world().is_root()) {
      const std::vector<int> more = files.checkpoint().tokenizer().ends();
      ids.insert(ids.end(), more.begin(), more.end());
    }
    comm::broadcast(session.world(), ids);
    return ids;
  }

  std::string model_, archive_, prompt_, prompt_file_, chat_file_;
  std::vector<std::string> stops_;
  SelectionOptions selection_;
  DraftOptions draft_;
  long max_tokens_ = 100;
  model::SamplerOptions sampler_;
  bool stop_at_eos_ = false;
};

}  // namespace

std::unique_ptr<Command> make_generate(CLI::App& app) { return std::make_unique<GenerateCommand>(app); }

}  // namespace hack::jobs
