// The model of a study on rows whose times are made by a law that is known.

#include "io/record_file.hpp"
#include "jobs/study/study_model.hpp"

#include <algorithm>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/study/study_table.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/random_checkpoint.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

/// A machine of one rank a node, with `cores` cores in all, on which a prompt takes 3 s of one core's work.
struct Law {
  int cores = 64;
  Link link{Link::Kind::halving, 0, 1e-4, 1e7};
  StudyWork work{.prompt = 128};
  model::LlamaConfig config = model::published_config("llama-3.2-1b");

  double compute(int ranks) const { return 3.0 / std::min(ranks, cores); }
  double communication(int ranks) const {
    const double bytes = 128.0 * 4 * static_cast<double>(config.hidden_size);
    return (2 * static_cast<double>(config.layers) + 1) * link.seconds(ranks, bytes);
  }

  json row(const std::string& phase, int ranks, double work_done, double seconds) const {
    return {{"kind", "measured"},
            {"phase", phase},
            {"ranks", ranks},
            {"nodes", ranks},
            {"threads", 1},
            {"unit", "tokens"},
            {"cores", cores},
            {"work", work_done},
            {"seconds", seconds},
            {"rate", 128 / seconds},
            {"compute_seconds", compute(ranks)}};
  }
  json prefill(int ranks) const { return row("prefill", ranks, 128, compute(ranks) + communication(ranks)); }
  json slice(const std::string& text, int ranks, double seconds) const {
    json slice = row("prefill slice", ranks, 128, seconds);
    slice["slice"] = text;
    return slice;
  }
  void add_all_reduces(std::vector<json>& rows, int ranks) const {
    for (const double bytes : {1e4, 1e5, 1e6})
      rows.push_back(row("allreduce", ranks, bytes, link.seconds(ranks, bytes)));
  }
  StudyModel model(const std::vector<json>& rows, const std::optional<Machine>& links = std::nullopt) const {
    return model_of(rows, config, 2, work, 1e9, links);
  }
};

TEST(StudyModel, PredictsTheLargestCountFromTheOthers) {
  const Law law;
  std::vector<json> rows;
  for (const int ranks : {1, 2, 4}) rows.push_back(law.prefill(ranks));
  for (const int ranks : {2, 4}) law.add_all_reduces(rows, ranks);
  const StudyModel model = law.model(rows);
  ASSERT_EQ(model.held_out.size(), 1u);
  EXPECT_EQ(model.held_out[0]["kind"], "model");
  EXPECT_EQ(model.held_out[0]["ranks"], 4);
  EXPECT_NEAR(model.held_out[0]["error"].get<double>(), 0, 1e-9);
}

TEST(StudyModel, KnowsThatRanksShareCores) {
  const Law law{.cores = 2};
  std::vector<json> rows;
  for (const int ranks : {1, 2, 3, 4}) rows.push_back(law.prefill(ranks));
  for (const int ranks : {2, 3, 4}) law.add_all_reduces(rows, ranks);
  EXPECT_NEAR(law.model(rows).held_out.at(0)["error"].get<double>(), 0, 1e-9);
}

TEST(StudyModel, PutsSlicesAndAllReducesTogether) {
  const Law law;
  std::vector<json> rows;
  for (const int ranks : {1, 2}) rows.push_back(law.prefill(ranks));
  law.add_all_reduces(rows, 2);
  rows.push_back(law.slice("all/2", 2, law.compute(2)));
  rows.push_back(law.slice("0/64", 64, 0.25));
  rows.push_back(law.slice("63/64", 64, 0.5));
  const StudyModel model = law.model(rows);
  ASSERT_EQ(model.slices.size(), 2u);
  const json& two = model.slices[0];
  EXPECT_EQ(two["kind"], "model");
  EXPECT_EQ(two["measured"], "compute_seconds");
  EXPECT_NEAR(two["error"].get<double>(), 0, 1e-9);
  EXPECT_EQ(two["links"], "measured");
  const json& many = model.slices[1];
  EXPECT_EQ(many["slices"], (json{"0/64", "63/64"}));
  EXPECT_EQ(many["compute_seconds"], 0.5);  // the slowest
  EXPECT_NEAR(many["communication_seconds"].get<double>(), law.communication(64), 1e-9);
  EXPECT_NEAR(many["seconds"].get<double>(), 0.5 + law.communication(64), 1e-9);
  EXPECT_FALSE(many.contains("error"));
  for (const json& row : model.larger) {
    EXPECT_EQ(row.contains("slices"), row["ranks"] == 64);
    if (row.contains("slices")) {
      EXPECT_EQ(row["seconds"], many["seconds"]);
    }
  }
}

TEST(StudyModel, SlicesAloneOnSharedCoresAreSlowedDown) {
  const Law law{.cores = 2};
  std::vector<json> rows = {law.prefill(1), law.prefill(4)};
  law.add_all_reduces(rows, 4);
  rows.push_back(law.slice("2/4", 4, 3.0 / 4));  // with a core to itself
  rows.push_back(law.slice("all/4", 4, 3.0 / 2));
  const StudyModel model = law.model(rows);
  EXPECT_NEAR(model.slices.at(0)["compute_seconds"].get<double>(), 3.0 / 2, 1e-9);
  EXPECT_NEAR(model.slices.at(0)["error"].get<double>(), 0, 1e-9);
}

TEST(StudyModel, TakesTheLinksItIsGiven) {
  const Law law;
  const std::vector<json> rows = {law.slice("0/8", 8, 0.5)};
  const Machine links = published_machine("h100");
  const StudyModel model = law.model(rows, links);
  const double bytes = 128.0 * 4 * static_cast<double>(law.config.hidden_size);
  const double sums = (2 * static_cast<double>(law.config.layers) + 1) * links.all_reduce_seconds(8, bytes);
  EXPECT_EQ(model.slices.at(0)["links"], "given");
  EXPECT_NEAR(model.slices.at(0)["seconds"].get<double>(), 0.5 + sums, 1e-12);
  EXPECT_TRUE(model.held_out.empty());
}

TEST(StudySlice, IsWrittenAsItIsRead) {
  EXPECT_EQ(StudySlice::parse("3/8").part, 3);
  EXPECT_EQ(StudySlice::parse("3/8").ranks(), 1);
  EXPECT_EQ(StudySlice::parse("all/8").ranks(), 8);
  for (const char* text : {"0/1", "7/8", "all/3"}) EXPECT_EQ(StudySlice::parse(text).text(), text);
  for (const char* text : {"", "3", "8/8", "-1/8", "1/0", "all/0", "all/", "x/2", "1/2/3", "1.5/2"})
    EXPECT_THROW(StudySlice::parse(text), Error) << text;
}

TEST(StudyTable, TakesRecordedRowsThatWereNotChanged) {
  const hack::testing::TemporaryDirectory folder;
  const std::filesystem::path prefix = folder / "study", records = folder / "study.records";
  const json key = {{"model", "m"}};
  {
    StudyTable table(prefix, key);
    for (const int ranks : {1, 2}) table.add({Law().prefill(ranks)});
  }
  const std::string whole = hack::testing::read_file(records);
  for (std::size_t at = 0; at <= whole.size(); at += 1 + at / 16) {
    SCOPED_TRACE(at);
    std::string text = whole;
    if (at < whole.size()) text[at] = static_cast<char>(text[at] ^ 0x04);
    hack::testing::write_file(records, text);
    try {
      const StudyTable table(prefix, key);
      for (const json& row : table.rows()) EXPECT_EQ(row, Law().prefill(row["ranks"].get<int>()));
      EXPECT_EQ(table.rows().size() == 2, at == whole.size());
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(records.string()), std::string::npos) << error.what();
    }
  }
  hack::testing::write_file(records, whole);
  EXPECT_THROW(StudyTable(prefix, {{"model", "other"}}), Error);
  std::filesystem::remove(records);
  EXPECT_THROW(StudyTable(prefix, key), Error);  // a table that it would write over
}

TEST(StudyTable, RefusesRecordsOfHostileRows) {
  const hack::testing::TemporaryDirectory folder;
  const std::filesystem::path prefix = folder / "study", records = folder / "study.records";
  const auto refusal = [&](const std::string& content) -> std::string {
    std::filesystem::remove(records);
    io::RecordFile(records, "study", "key").append("prefill", content);
    try {
      const StudyTable table(prefix, "key");
      return "(accepted)";
    } catch (const Error& error) {
      return error.what();
    }
  };
  const json row = Law().prefill(2);
  EXPECT_EQ(refusal(json({row}).dump()), "(accepted)");
  const auto changed = [&](const char* name, const json& value) {
    json other = row;
    other[name] = value;
    return json({other}).dump();
  };
  json rateless = row;
  rateless.erase("rate");
  for (const std::string& content :
       {std::string("not JSON"), std::string("{}"), std::string("[5]"), std::string(5000, '['), json({rateless}).dump(),
        changed("ranks", 0), changed("ranks", 1e300), changed("ranks", "2"), changed("nodes", -1), changed("phase", 3),
        changed("rate", 0), changed("seconds", -1), changed("unit", nullptr), changed("more", json::array())}) {
    EXPECT_NE(refusal(content).find(records.string()), std::string::npos) << content.substr(0, 200);
  }
}

TEST(StudyTable, HasTheColumnsThatRowsHave) {
  const hack::testing::TemporaryDirectory folder;
  const json nothing = {
      {"held_out", json::array()}, {"slices", json::array()}, {"larger", json::array()}, {"published", json::array()}};
  const auto header = [&](const std::string& name, const json& more) {
    StudyTable table(folder / name, json::object());
    json row = Law().prefill(1);
    for (const char* field : {"communication_seconds", "wait_seconds", "input_seconds", "imbalance", "seconds_min",
                              "seconds_max", "peak_memory_bytes"})
      row[field] = 1.0;
    row.update(more);
    table.add({row});
    const std::string text = table.finish(nothing, "a study");
    EXPECT_EQ(text.find("joules") != std::string::npos, !more.empty());
    std::ifstream file(folder / (name + ".csv"));
    std::string first, second;
    std::getline(file, first);
    std::getline(file, second);
    EXPECT_EQ(std::count(first.begin(), first.end(), ','), std::count(second.begin(), second.end(), ','));
    return first;
  };
  EXPECT_EQ(header("cpu", json::object()).find("joules"), std::string::npos);
  EXPECT_NE(header("gpu", {{"joules", 12.5}, {"joules_per_token", 0.1}}).find(",joules,joules_per_token"),
            std::string::npos);
}

}  // namespace
}  // namespace hack::jobs
