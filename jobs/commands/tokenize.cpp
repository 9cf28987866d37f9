#include <numeric>

#include <nlohmann/json.hpp>

#include "comm/collectives.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/compression/model_files.hpp"
#include "jobs/session/file_options.hpp"
#include "jobs/session/token_ids.hpp"
#include "kernels/error.hpp"
#include "model/tokenizer/open_tokenizer.hpp"

namespace hack::jobs {
namespace {

class TokenizeCommand : public Command {
 public:
  explicit TokenizeCommand(CLI::App& parent) : Command(parent, "tokenize", "Token ids of a text, one a line") {
    app_.add_option("MODEL", model_, "Hugging Face directory, tokenizer.json or .gguf file")
        ->required()
        ->type_name(input_type);
    app_.add_option("--text", text_, "UTF-8 text, or ids with --decode")->required()->type_name(input_type);
    app_.add_flag("--decode", decode_, "The other way: ids in, text out");
    common_.add_to(app_, {});
  }

  bool is_list() const override { return true; }

  nlohmann::json run(Session& session) override {
    if (!session.world().is_root()) return {};
    const model::Tokenizer tokenizer = model::open_tokenizer(model_);
    const std::string input = read_text("--text", text_);
    nlohmann::json results = {{"vocabulary", tokenizer.size()},
                              {"bos", tokenizer.bos() ? nlohmann::json(*tokenizer.bos()) : nlohmann::json()}};
    if (decode_) {
      const std::string text = for_option("--text " + text_, [&] { return tokenizer.decode(parse_ids(input)); });
      fmt::print("{}", text);
      results["bytes"] = text.size();
    } else {
      const std::vector<int> ids =
          for_option("--text " + text_, [&] { return tokenizer.encode(input, model::AddSpecial::yes); });
      std::string lines;
      for (int id : ids) lines += fmt::format("{}\n", id);
      fmt::print("{}", lines);
      results["tokens"] = ids.size();
      results["sum"] = std::accumulate(ids.begin(), ids.end(), 0LL);
    }
    return results;
  }

 private:
  std::string model_, text_;
  bool decode_ = false;
};

}  // namespace

std::unique_ptr<Command> make_tokenize(CLI::App& app) { return std::make_unique<TokenizeCommand>(app); }

}  // namespace hack::jobs
