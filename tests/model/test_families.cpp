// Models of other families through the program: compressed, then measured beside their dense twin, the same matrices
// multiplied out.

#include <cmath>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

struct Family {
  const char* name;
  TinyModel tiny;
};

class Families : public ::testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 60; ++i) text += fmt::format("The {}th lamp burned {} hours, then another.\n", i, i * 37 % 24);
    write_file(file("text"), text);
    write_hf(GetParam().tiny, file("hf"));
  }

  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  /// The `results` of a run; the test fails if it does.
  json run(int ranks, const Arguments& arguments) const {
    const std::string path = file("report.json");
    const ProgramResult result = run_hack(ranks, arguments + Arguments{"--report", path});
    EXPECT_EQ(result.status, 0) << arguments.front() << "\n" << result.err;
    return result.status == 0 ? json::parse(read_file(path))["results"] : json();
  }

  double perplexity(int ranks, const std::string& model, const Arguments& more = {}) const {
    const json results = run(ranks, Arguments{"perplexity", file(model), "--text", file("text"), "--context", "96",
                                              "--windows", "4", "--dtype", "f32", "--products", "exact"} +
                                        more);
    return results.is_null() ? 0 : results["perplexity"].get<double>();
  }

  /// Compresses on 1 and 2 ranks, and says how far the perplexity is from that of the dense model.
  double distance_of(const Arguments& how) const {
    const double dense = perplexity(0, "hf");
    double first = 0;
    for (const int ranks : {1, 2}) {
      const std::string archive = file(fmt::format("{}.h5", ranks));
      run(ranks, Arguments{"compress", file("hf"), "--output", archive, "--matrices", "q,k,v,o,gate,up,down"} + how);
      const double own = perplexity(ranks, "hf", {"--archive", archive});
      if (ranks == 1) first = own;
      EXPECT_NEAR(own / first, 1, 1e-4) << ranks << " ranks";
    }
    run(0,
        {"export", file("hf"), "--archive", file("1.h5"), "--format", "hf", "--type", "f32", "--output", file("twin")});
    EXPECT_NEAR(perplexity(0, "twin") / first, 1, 1e-5) << "the same matrices, dense";
    std::filesystem::remove_all(file("twin"));
    return std::abs(std::log(first / dense));
  }

  TemporaryDirectory folder_;
};

TEST_P(Families, RunCompressedAsTheirDenseTwins) {
  EXPECT_GT(distance_of({"--method", "plain", "--tile", "32", "--terms", "lowrank", "--topk", "0.5"}), 1e-3);
  const double four_bits = distance_of({"--codec", "q4_0", "--method", "plain"});
  EXPECT_GT(four_bits, 0);
  EXPECT_LT(four_bits, 0.1);
}

INSTANTIATE_TEST_SUITE_P(
    Tiny, Families,
    ::testing::Values(
        Family{"Mistral",
               {.hidden = 64, .intermediate = 160, .heads = 8, .kv_heads = 4, .head_dim = 8, .sliding_window = 24}},
        Family{"Qwen2",
               {.hidden = 64,
                .intermediate = 160,
                .heads = 4,
                .kv_heads = 2,
                .head_dim = 16,
                .tied = true,
                .qkv_bias = true}}),
    [](const auto& family) { return family.param.name; });

}  // namespace
}  // namespace hack::testing
