// Figures that are quoted beside other programs': lm-eval's perplexities, comparisons with files of base logits,
// multiple choice. On tiny models, alone and over grids of ranks.

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/paths.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

class Figures : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    std::string text;
    for (int i = 0; i < 12; ++i) text += fmt::format("The {}th lamp in the “harbour” burned\u00A0out.\n", i);
    write_file(file("text"), text);
    write_hf({}, file("hf"));
    TinyModel bos;
    bos.adds_bos = true;
    write_hf(bos, file("bos"));
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string file(const std::string& name) { return (*folder_ / name).string(); }

  /// The results of a run, which must succeed; what it printed goes to `out`.
  static json run(int ranks, const Arguments& arguments, std::string* out = nullptr) {
    const ProgramResult result =
        run_hack(ranks, arguments + Arguments{"--report", file("report"), "--threads", "1", "--products", "exact"});
    EXPECT_EQ(result.status, 0) << fmt::format("{}", fmt::join(arguments, " ")) << "\n" << result.err;
    if (result.status != 0) return {};
    if (out != nullptr) *out = result.out;
    return json::parse(read_file(file("report")))["results"];
  }

  static json perplexity(int ranks, const std::string& model, const Arguments& more, std::string* out = nullptr) {
    return run(ranks, Arguments{"perplexity", file(model)} + more, out);
  }

  static void fails(const Arguments& arguments, const std::string& message) {
    const ProgramResult result = run_hack(0, arguments);
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  }

  /// The base's file and an archive of the same model, made once.
  static void make_base() {
    if (std::filesystem::exists(file("base.kld"))) return;
    perplexity(0, "bos", {"--text", file("text"), "--context", "64", "--save-all-logits", file("base.kld")});
    run(0, {"compress", file("bos"), "--output", file("a.h5"), "--method", "plain", "--topk", "0.5", "--tile", "32"});
  }

  static TemporaryDirectory* folder_;
};

TemporaryDirectory* Figures::folder_ = nullptr;

TEST_F(Figures, OfLmEvalAreOfWordsAndBytes) {
  const Arguments how = {"--text", file("text"), "--protocol", "lm-eval", "--context", "48"};
  std::string out;
  const json one = perplexity(0, "hf", how + Arguments{"--lm-eval-report", file("lm.json")}, &out);
  EXPECT_EQ(one["words"], 12 * 8 + 1);  // the no-break space is one, the newline at the end another
  EXPECT_EQ(one["bytes"], read_file(file("text")).size());
  const double nll = one["nll_sum"];
  EXPECT_NEAR(one["word_perplexity"].get<double>(), std::exp(nll / (12 * 8 + 1)),
              1e-9 * one["word_perplexity"].get<double>());
  EXPECT_NEAR(one["byte_perplexity"].get<double>(), std::exp(nll / one["bytes"].get<double>()), 1e-9);
  EXPECT_NEAR(one["bits_per_byte"].get<double>(), std::log2(one["byte_perplexity"].get<double>()), 1e-9);
  EXPECT_EQ(one["tokens_scored"].get<long>() + 1, one["tokens_in_text"].get<long>());
  EXPECT_NE(out.find("protocol lm-eval, context 48"), std::string::npos) << out;
  EXPECT_NE(out.find(fmt::format("BOS {} in front", tiny_end_id)), std::string::npos) << out;

  const json readers = json::parse(read_file(file("lm.json")));
  EXPECT_EQ(readers["results"]["text"]["word_perplexity,none"], one["word_perplexity"]);
  EXPECT_EQ(readers["results"]["text"]["bits_per_byte_stderr,none"], "N/A");
  EXPECT_EQ(readers["higher_is_better"]["text"]["byte_perplexity"], false);

  for (const int ranks : {2, 3}) {
    EXPECT_EQ(perplexity(ranks, "hf", how + Arguments{"--tensor-parallel", "1"})["nll_sum"], one["nll_sum"]);
    EXPECT_NEAR(perplexity(ranks, "hf", how)["word_perplexity"].get<double>() / one["word_perplexity"].get<double>(), 1,
                1e-4);
  }
  // One token in front, whether or not the tokenizer has put it there.
  EXPECT_EQ(perplexity(0, "bos", how)["tokens_in_text"], one["tokens_in_text"]);
  // Windows of the text stand for a part of its words.
  const json part = perplexity(0, "hf", how + Arguments{"--windows", "2"});
  EXPECT_LT(part["bytes"], one["bytes"]);
  EXPECT_GT(part["words"], 10);
  EXPECT_LT(part["words"], 40);
  EXPECT_EQ(perplexity(0, "hf", {"--text", file("text"), "--protocol", "lm-eval"})["context"], 256);  // the model's
  fails({"perplexity", file("hf"), "--text", file("text"), "--lm-eval-report", file("no")}, "add --protocol lm-eval");
}

TEST_F(Figures, OfTheBaseItselfAreThoseOfNoDifference) {
  make_base();
  const json same = perplexity(0, "bos", {"--compare", file("base.kld")});
  EXPECT_EQ(same["protocol"], "llama.cpp");
  EXPECT_EQ(same["context"], 64);
  EXPECT_NEAR(same["divergence"].get<double>(), 0, 1e-5);  // of 65,536 levels over a few nats
  EXPECT_EQ(same["same_top"], 1);
  EXPECT_NEAR(same["perplexity_ratio"].get<double>(), 1, 1e-5);
  EXPECT_NEAR(same["ln_perplexity_correlation"].get<double>(), 1, 1e-6);
  const json plain = perplexity(0, "bos", {"--text", file("text"), "--protocol", "llama.cpp", "--context", "64"});
  EXPECT_NEAR(same["perplexity"].get<double>() / plain["perplexity"].get<double>(), 1, 1e-5);
  EXPECT_EQ(same["tokens_scored"], plain["tokens_scored"]);
}

TEST_F(Figures, OfABaseAreTheDenseModelsOnAnyGrid) {
  make_base();
  const Arguments archive = {"--archive", file("a.h5")};
  std::string out;
  const json dense = perplexity(
      2, "bos",
      archive + Arguments{"--compare", "dense", "--text", file("text"), "--protocol", "llama.cpp", "--context", "64"});
  const json one = perplexity(0, "bos", archive + Arguments{"--compare", file("base.kld")}, &out);
  for (const char* name : {"divergence", "divergence_99.9", "divergence_median", "divergence_minimum", "same_top",
                           "ln_perplexity_difference", "ln_perplexity_correlation", "probability_difference",
                           "probability_difference_rms", "perplexity_ratio", "probability_difference_25"}) {
    EXPECT_NEAR(one[name].get<double>(), dense[name].get<double>(), 1e-4) << name;
    EXPECT_TRUE(std::string(name) != "divergence" || one[name] > 0.001);
  }
  for (const char* line : {"Mean PPL(Q)                   :", "Mean ln(PPL(Q)/PPL(base))     :", "Mean    KLD:",
                           "99.9%   KLD:", " 5.0%   KLD:", "Maximum KLD:", "RMS Δp    :", "Same top p:"}) {
    EXPECT_NE(out.find(line), std::string::npos) << line << "\n" << out;
  }
  for (const int ranks : {2, 3}) {
    const json copies =
        perplexity(ranks, "bos", archive + Arguments{"--compare", file("base.kld"), "--tensor-parallel", "1"});
    for (const char* name : {"divergence", "perplexity", "same_top", "divergence_90"}) {
      EXPECT_EQ(copies[name], one[name]) << name;
    }
    const json shared = perplexity(ranks, "bos", archive + Arguments{"--compare", file("base.kld")});
    EXPECT_NEAR(shared["divergence"].get<double>(), one["divergence"].get<double>(), 1e-5);
    perplexity(
        ranks, "bos",
        {"--text", file("text"), "--context", "64", "--save-all-logits", file("again.kld"), "--tensor-parallel", "1"});
    EXPECT_TRUE(read_file(file("again.kld")) == read_file(file("base.kld")));
  }
}

TEST_F(Figures, OfABaseGoOnAfterRecords) {
  make_base();
  const Arguments how = {"--archive", file("a.h5"), "--compare", file("base.kld"), "--records", file("kept")};
  const json first = perplexity(0, "bos", how + Arguments{"--slice", "1/2"});
  const json whole = perplexity(2, "bos", how + Arguments{"--tensor-parallel", "1"});
  EXPECT_EQ(whole["windows_from_records"], first["windows"]);
  const json again = perplexity(0, "bos", how);
  EXPECT_EQ(again["windows_from_records"], whole["windows"]);
  EXPECT_EQ(again["divergence"], whole["divergence"]);
  fails({"perplexity", file("bos"), "--archive", file("a.h5"), "--text", file("text"), "--protocol", "llama.cpp",
         "--context", "64", "--records", file("kept")},
        "holds losses of another run");
}

TEST_F(Figures, OfABaseNeedWhatFits) {
  make_base();
  const std::string base = file("base.kld");
  TinyModel wide;
  wide.vocab = 265;
  write_hf(wide, file("wide"));
  fails({"perplexity", file("wide"), "--compare", base}, "vocabulary of 263 tokens, the model one of 265");
  write_file(file("other"), std::string(500, 'x'));
  fails({"perplexity", file("bos"), "--compare", base, "--text", file("other")}, "token 1 is another one");
  fails({"perplexity", file("bos"), "--compare", base, "--protocol", "2048"}, "leave --protocol out");
  fails({"perplexity", file("bos"), "--compare", base, "--context", "32"}, "leave --context out");
  fails({"perplexity", file("bos"), "--compare", file("text")}, "is no file of base logits");
  fails({"perplexity", file("bos"), "--compare", "dense", "--text", file("text")}, "needs --archive");
  fails({"perplexity", file("bos")}, "--text names no file");
  fails({"perplexity", file("bos"), "--text", file("text"), "--save-all-logits", file("new.kld"), "--records",
         file("kept2")},
        "does not go with --records");
  EXPECT_FALSE(std::filesystem::exists(file("new.kld")));
}

TEST_F(Figures, OfChoicesAreTheSameOnAnyGrid) {
  const std::string questions = HACK_SOURCE_DIR "/tests/data/questions.jsonl";
  const Arguments how = {"evaluate", file("hf"), "--tasks", questions};
  std::string out;
  const json one = run(0, how + Arguments{"--lm-eval-report", file("lm.json")}, &out);
  EXPECT_EQ(one["items"], 36);
  EXPECT_EQ(one["choices"], 144);
  EXPECT_EQ(one["tasks"]["facts"]["items"], 20);
  EXPECT_NE(out.find("endings: acc "), std::string::npos) << out;
  const json readers = json::parse(read_file(file("lm.json")));
  EXPECT_EQ(readers["results"]["facts"]["acc_norm,none"], one["tasks"]["facts"]["acc_norm"]);
  EXPECT_EQ(readers["results"]["endings"]["acc_stderr,none"], one["tasks"]["endings"]["acc_stderr"]);
  EXPECT_EQ(readers["n-samples"]["endings"]["effective"], 16);
  EXPECT_EQ(run(3, how + Arguments{"--tensor-parallel", "1"})["tasks"], one["tasks"]);
  EXPECT_EQ(run(2, how)["tasks"], one["tasks"]);

  const Arguments kept = how + Arguments{"--records", file("choices"), "--tensor-parallel", "1"};
  run(0, kept);
  const std::string records = read_file(file("choices"));
  write_file(file("choices"), records.substr(0, records.size() / 2));
  const json again = run(2, kept);
  EXPECT_GT(again["choices_from_records"], 50);
  EXPECT_LT(again["choices_from_records"], 144);
  EXPECT_EQ(again["tasks"], one["tasks"]);
}

TEST_F(Figures, OfChoicesComeOfItemsThatAreRight) {
  write_file(file("one.jsonl"), "{\"context\": \"Where?\", \"choices\": [\"here\", \"there\"], \"answer\": 0}\n");
  const json one = run(0, {"evaluate", file("hf"), "--tasks", file("one.jsonl")});
  EXPECT_EQ(one["tasks"]["one"]["items"], 1);
  EXPECT_FALSE(one["tasks"]["one"].contains("acc_stderr"));
  write_file(file("bad.jsonl"), "{\"context\": \"Where?\"}\n");
  fails({"evaluate", file("hf"), "--tasks", file("bad.jsonl")}, "bad.jsonl: line 1 has no \"choices\"");
}

}  // namespace
}  // namespace hack::testing
