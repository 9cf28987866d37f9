// The model of times against what can be worked out by hand, and against published figures.

#include "jobs/study/cost_model.hpp"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/bench/random_factor_source.hpp"
#include "jobs/compression/apply_times.hpp"
#include "jobs/study/scaling_fit.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/random_checkpoint.hpp"
#include "model/llama/memory_need.hpp"
#include "svd/factored_matrix.hpp"
#include "svd/tile/storage.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::jobs {
namespace {

TEST(Link, CountsStepsAndBytesOfItsAlgorithm) {
  const Link ring{Link::Kind::ring, 1, 0.5, 100};
  EXPECT_DOUBLE_EQ(ring.seconds(1, 800), 0);
  EXPECT_DOUBLE_EQ(ring.seconds(4, 800), 1 + 6 * 0.5 + 1.5 * 8);
  const Link halving{Link::Kind::halving, 0, 0.5, 100};
  EXPECT_DOUBLE_EQ(halving.seconds(5, 1000), 6 * 0.5 + 1.6 * 10);
  const Link doubling{Link::Kind::doubling, 0, 0.5, 100};
  EXPECT_DOUBLE_EQ(doubling.seconds(2, 100), 0.5 + 1);
  EXPECT_DOUBLE_EQ(doubling.seconds(3, 100), 3 * (0.5 + 1));
  EXPECT_DOUBLE_EQ(doubling.seconds(4, 100), 2 * (0.5 + 1));
  EXPECT_DOUBLE_EQ(doubling.seconds(11, 100), 5 * (0.5 + 1));
  const Link folding{Link::Kind::folding, 0, 0.5, 100};
  EXPECT_DOUBLE_EQ(folding.seconds(3, 100), 5 * 0.5 + 2.25);
  EXPECT_DOUBLE_EQ(folding.seconds(4, 100), 4 * 0.5 + 1.5);
  const Link one_shot{Link::Kind::one_shot, 1, 0.5, 100};
  EXPECT_DOUBLE_EQ(one_shot.seconds(8, 100), 1.5 + 7);
}

TEST(Machine, SumsWithinNodesAndBetweenThem) {
  Machine machine;
  machine.ranks_per_node = 4;
  machine.within = {{Link::Kind::halving, 0, 1, 0}};
  machine.between = {{Link::Kind::halving, 0, 10, 0}};
  EXPECT_DOUBLE_EQ(machine.all_reduce_seconds(4, 1), 4);
  EXPECT_DOUBLE_EQ(machine.all_reduce_seconds(16, 1), 4 + 40);
}

TEST(FitLink, FindsWhatMadeTheTimes) {
  const Link truth{Link::Kind::halving, 0, 3e-6, 2e9};
  std::vector<LinkPoint> points;
  for (const int ranks : {2, 4}) {
    for (const double bytes : {1e3, 1e5, 1e7}) points.push_back({ranks, bytes, truth.seconds(ranks, bytes)});
  }
  const Link found = fit_link(Link::Kind::halving, points);
  EXPECT_NEAR(found.hop / truth.hop, 1, 1e-9);
  EXPECT_NEAR(found.bandwidth / truth.bandwidth, 1, 1e-9);
}

TEST(FitLink, FindsTheAlgorithm) {
  for (const Link::Kind kind : {Link::Kind::ring, Link::Kind::halving, Link::Kind::doubling, Link::Kind::folding}) {
    const Link truth{kind, 0, 3e-5, 1e7};
    std::vector<LinkPoint> points;
    for (const int ranks : {2, 3, 6}) {
      for (const double bytes : {1e3, 1e5, 1e6}) points.push_back({ranks, bytes, truth.seconds(ranks, bytes)});
    }
    EXPECT_EQ(fit_any_link(points).kind, kind);
    points.resize(3);  // of two ranks all are alike
    EXPECT_EQ(fit_any_link(points).kind, Link::Kind::halving);
    EXPECT_NEAR(fit_any_link(points).seconds(2, 1e4) / truth.seconds(2, 1e4), 1, 1e-9);
  }
}

TEST(FitLinks, GoFromSizeToSize) {
  const Link small{Link::Kind::halving, 0, 1e-4, 1e7}, large{Link::Kind::folding, 0, 0, 5e6, 1e5};
  std::vector<LinkPoint> points;
  for (const int ranks : {2, 3}) {
    for (const double bytes : {1e3, 1e4}) points.push_back({ranks, bytes, small.seconds(ranks, bytes)});
    for (const double bytes : {1e5, 1e6}) points.push_back({ranks, bytes, large.seconds(ranks, bytes)});
  }
  Machine machine;
  machine.within = fit_links(points);
  ASSERT_EQ(machine.within.size(), 3u);
  EXPECT_EQ(machine.within[0].from, 0);
  EXPECT_EQ(machine.within[1].from, 1e4);
  EXPECT_EQ(machine.within[2].from, 1e5);
  for (const double bytes : {10.0, 1e3, 5e3, 9e3})
    EXPECT_NEAR(machine.all_reduce_seconds(4, bytes) / small.seconds(4, bytes), 1, 1e-6) << bytes;
  for (const double bytes : {1e5, 3e5, 1e6, 1e8})
    EXPECT_NEAR(machine.all_reduce_seconds(4, bytes) / large.seconds(4, bytes), 1, 1e-6) << bytes;
  EXPECT_EQ(fit_links(std::span(points).first(1)).size(), 1u);
  EXPECT_EQ(fit_links({}).size(), 1u);
}

TEST(FitScaling, SeparatesTheSerialShare) {
  std::vector<ScalingPoint> points;
  for (const int ranks : {1, 2, 4}) points.push_back({1.0 / ranks, 0.01 * ranks, 0.5 + 8.0 / ranks + 0.01 * ranks});
  const ScalingFit fit = fit_scaling(points);
  EXPECT_NEAR(fit.serial, 0.5, 1e-9);
  EXPECT_NEAR(fit.scale, 8, 1e-9);
  EXPECT_NEAR(fit.serial_share(1), 0.5 / 8.5, 1e-9);
  EXPECT_NEAR(fit.seconds(1.0 / 8, 0.08), 0.5 + 1 + 0.08, 1e-9);
}

TEST(FitScaling, HasNoNegativeParts) {
  const std::vector<ScalingPoint> superlinear = {{1, 0, 10}, {0.5, 0, 4}};
  const ScalingFit fit = fit_scaling(superlinear);
  EXPECT_EQ(fit.serial, 0);
  EXPECT_GT(fit.scale, 8);
  EXPECT_LT(fit.scale, 10);
  EXPECT_DOUBLE_EQ(fit_scaling(std::vector<ScalingPoint>{{0.5, 1, 4}}).scale, 6);
}

TEST(CostModel, DecodesAtTheBandwidthOfItsBytes) {
  Machine machine;
  machine.read_bandwidth = 1e12;
  const Workload work{.config = model::published_config("llama-3.1-8b")};
  // Without the embedding, of which a token reads one row: 8,030,261,248 - 525,336,576 weights, the norms aside.
  const double weights = 8030261248.0 - 128256.0 * 4096 - 65 * 4096;
  EXPECT_NEAR(CostModel(machine, work).decode_seconds(1), 2 * weights / 1e12, 1e-9);
  Workload factored = work;
  factored.mlp_keep = 0.5;
  EXPECT_NEAR(CostModel(machine, factored).decode_seconds(1), 2 * (weights - 0.5 * 3 * 32 * 4096 * 14336) / 1e12, 1e-9);
}

/// gpt-fast, Llama-3.1-8B in bf16 on A100 cards of 80 GB: tokens/s as published, at 1, 2, 4 and 8 cards. Its authors
/// measured 1,700 GB/s of memory bandwidth at their power limit; it cuts the layers, not the head; sums are in bf16.
TEST(CostModel, ReproducesThePublishedCurveOfGptFast) {
  Machine machine = published_machine("a100-80gb");
  machine.read_bandwidth = 1.7e12;
  const Workload work{
      .config = model::published_config("llama-3.1-8b"), .activation_bytes = 2, .head_is_split = false, .context = 128};
  const CostModel cost(machine, work);
  const std::pair<int, double> published[] = {{1, 93.8}, {2, 149.1}, {4, 217.2}, {8, 276.0}};
  for (const auto& [cards, rate] : published) {
    const double predicted = 1 / cost.decode_seconds(cards);
    EXPECT_NEAR(predicted / rate, 1, 0.25) << cards << " cards: " << predicted << " tokens/s";
    RecordProperty("tokens_per_second_" + std::to_string(cards), std::to_string(predicted));
  }
}

TEST(CostModel, ReadsBackTheMachineItWrote) {
  const Machine machine = published_machine("h100");
  const Machine again = machine_from_json(to_json(machine));
  EXPECT_EQ(to_json(again), to_json(machine));
  EXPECT_THROW(machine_from_json({{"name", "x"}}), Error);
  EXPECT_THROW(published_machine("z80"), Error);
}

TEST(CostModel, RefusesHostileMachines) {
  const hack::testing::TemporaryDirectory folder;
  const std::string path = folder / "study.json";
  const auto refusal = [&](const std::string& text) -> std::string {
    hack::testing::write_file(path, text);
    try {
      open_machine(path);
      return "(accepted)";
    } catch (const Error& error) {
      return error.what();
    }
  };
  const nlohmann::json whole = {{"machine", to_json(published_machine("h100"))}};
  EXPECT_EQ(refusal(whole.dump()), "(accepted)");
  const auto changed = [&](const char* place, const nlohmann::json& value) {
    nlohmann::json other = whole;
    other[nlohmann::json::json_pointer(place)] = value;
    return other.dump();
  };
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{}"), std::string(5000, '['), changed("/machine", 5),
        changed("/machine/flops", -1), changed("/machine/flops", "many"), changed("/machine/ranks_per_node", 1e300),
        changed("/machine/ranks_per_node", 4294967296), changed("/machine/within_nodes", {{"kind", "ring"}}),
        changed("/machine/between_nodes/0/kind", "tree"), changed("/machine/between_nodes/0/hop_seconds", -1)}) {
    EXPECT_NE(refusal(text).find(path), std::string::npos) << refusal(text);
  }
}

TEST(ApplyTimes, RefusesHostileReports) {
  const hack::testing::TemporaryDirectory folder;
  const std::string path = folder / "times.json";
  const std::string row = R"({"kind":"interpolative","type":"bf16","codec":"bf16","tokens":1,"faster_up_to_rank":64})";
  const auto share = [&](const std::string& text) -> std::string {
    hack::testing::write_file(path, text);
    try {
      const double found = ApplyTimes(path).fast_share(svd::Structure::interpolative, Codec::bf16, 1);
      return std::to_string(found);
    } catch (const Error& error) {
      return error.what();
    }
  };
  const auto report = [](const std::string& rows) { return R"({"results":{"break_even":)" + rows + "}}"; };
  EXPECT_EQ(share(report("[" + row + "]")), "0.500000");
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string(R"({"results":5})"), report("5"), report("[5]"),
        report("[[]]"), report(R"([{"type":5}])"), report(R"([{"tokens":"1"}])"), report(R"([{"tokens":1e300}])"),
        report(R"([{"faster_up_to_rank":-1}])"), report(std::string(5000, '[')),
        std::string(R"({"results":{"break_even":[],"rows":[{"seconds":"x"}]}})")}) {
    EXPECT_NE(share(text).find(path), std::string::npos) << share(text);
  }
}

TEST(MemoryNeed, HoldsEveryWeightOnce) {
  const model::LlamaConfig config = model::published_config("llama-3.2-1b");
  const model::RunShape run{.context = 512};
  const double alone = model::memory_need(config, run, 1, 0).weights;
  EXPECT_NEAR(alone, 2.0 * 1235814400, 2.0 * 33 * 2048 + 1);  // norms are f32
  double shared = 0;
  for (int rank = 0; rank < 4; ++rank) shared += model::memory_need(config, run, 4, rank).weights;
  EXPECT_NEAR(shared / alone, 1, 1e-3);
}

/// Factors of all ranks, as they are held, against what the archive's own account of bytes makes of it.
TEST(MemoryNeed, CountsFactorsAsTheyAreHeld) {
  model::LlamaConfig config = model::published_config("llama-3.2-1b");
  config.layers = 1;
  config.hidden_size = 512;
  config.intermediate_size = 1536;
  for (const Codec codec : {Codec::bf16, Codec::int8}) {
    RandomFactorSource factors(48, kernels::Structure::low_rank, codec);
    factors.add_mlp(config);
    for (const DType type : {DType::bf16, DType::f32}) {
      double held = 0, stored = 0, dense = 0;
      for (const std::string& name : factors.matrices()) {
        const svd::MatrixTable& table = factors.matrix(name);
        const svd::FactoredMatrix<Device::cpu> matrix(factors, name, {0, table.grid.rows()}, {0, table.grid.cols()},
                                                      type);
        held += static_cast<double>(matrix.bytes());
        stored += static_cast<double>(table.bytes_factors);
        dense += static_cast<double>(svd::dense_bytes(table.grid.rows(), table.grid.cols(), codec));
      }
      const model::RunShape none{.type = type, .mlp_keep = 0, .context = 512};
      const model::RunShape run{.type = type, .mlp_keep = stored / dense, .factors = codec, .context = 512};
      const double need =
          model::memory_need(config, run, 1, 0).weights - model::memory_need(config, none, 1, 0).weights;
      EXPECT_NEAR(need / held, 1, 0.03) << to_string(codec) << " " << to_string(type);
    }
  }
}

}  // namespace
}  // namespace hack::jobs
