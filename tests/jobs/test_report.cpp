// `hack report`: one page from reports of any origin, well formed, with every text escaped.

#include <cmath>
#include <limits>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "jobs/report/chart.hpp"
#include "jobs/report/html.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::testing {
namespace {

using nlohmann::json;

/// Ends tags, attributes, scripts and comments, and has what XML forbids.
constexpr const char* hostile =
    "</td></script><script>alert(1)</script><img src=x onerror='a' \"b\">--> ]]> & \x01\x1b é";

json report_of(const std::string& command, json config, json results) {
  return {{"command", command},
          {"version", "0.0.1"},
          {"config", std::move(config)},
          {"environment", {{"ranks", 2}, {"nodes", 1}, {"threads", 1}, {"cpu", hostile}}},
          {"results", std::move(results)}};
}

json matrix(int layer, const std::string& kind, double keep) {
  return {{"name", fmt::format("model.layers.{}.mlp.{}_proj.weight", layer, kind)},
          {"keep", keep},
          {"rank_mean", 64 * keep},
          {"relative_error", nullptr}};  // what was infinite
}

/// Whether a parser of XML takes the page: tags in pairs, attributes quoted, entities known.
void expect_well_formed(const std::string& path) {
  const ProgramResult result = run_shell(
      fmt::format("python3 -c 'import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])' {}", path));
  EXPECT_EQ(result.status, 0) << result.err;
}

class Report : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const json& report) {
    const std::string path = (folder_ / name).string();
    write_file(path, report.dump());
    return path;
  }

  ProgramResult make(const Arguments& runs, const std::string& output = "page.html") {
    return run_hack(0, Arguments{"report", "--output", (folder_ / output).string()} + runs);
  }

  std::string page() { return read_file(folder_ / "page.html"); }

  TemporaryDirectory folder_;
};

TEST_F(Report, EscapesEveryTextAndStaysWellFormed) {
  json odd = json::object();
  odd[hostile] = hostile;
  odd["rows"] = json::array({{{hostile, hostile}, {"name", hostile}}, {{"name", 3}}});
  odd["matrices"] = json::array({matrix(0, hostile, 0.5), {{"name", hostile}}});
  odd["nested"] = {{"deep", json::array({hostile, json::object({{"x", hostile}})})}};
  Arguments runs;
  for (const char* command : {"compress", "perplexity", "sweep", "bench", "study", "inspect", hostile}) {
    runs.push_back(write(fmt::format("run{}.json", runs.size()),
                         report_of(command, {{"MODEL", hostile}, {hostile, hostile}, {"text", hostile}}, odd)));
  }
  const ProgramResult result = make(runs + Arguments{"--title", "<b>&\"'"});
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string html = page();
  expect_well_formed((folder_ / "page.html").string());
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_EQ(html.find("<b>"), std::string::npos);
  EXPECT_EQ(html.find("alert(1)</script>"), std::string::npos);
  EXPECT_EQ(html.find("<script>"), html.rfind("<script>")) << "one script, the page's own";
  EXPECT_NE(html.find("&lt;img src=x onerror=&#39;a&#39; &quot;b&quot;&gt;"), std::string::npos);
  for (const char* outside : {"http://", "https://", "src=\"", "@import", "url("}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
}

TEST_F(Report, JoinsLossesWithTheBytesOfTheirArchives) {
  const json scores = {{"protocol", "2048"}, {"windows", 3}, {"context", 2048}};
  json dense = scores, compressed = scores;
  dense["perplexity"] = 22.5;
  compressed["perplexity"] = 23.5;
  compressed["divergence"] = 0.05;
  const Arguments runs = {
      write("a.json",
            report_of("compress", {{"MODEL", "m.gguf"}, {"output", "/x/four.h5"}, {"keep", 0.28}, {"sweeps", 3}},
                      {{"keep", 0.2814},
                       {"archive", "/x/four.h5"},
                       {"matrices", {matrix(0, "gate", 0.3), matrix(10, "gate", 0.2), matrix(2, "up", 0.3)}}})),
      write("b.json", report_of("perplexity", {{"MODEL", "m.gguf"}, {"archive", "/x/four.h5"}, {"text", "/t/a b.txt"}},
                                compressed)),
      write("c.json",
            report_of("perplexity", {{"MODEL", "m.gguf"}, {"archive", nullptr}, {"text", "/t/a b.txt"}}, dense))};
  const ProgramResult result = make(runs);
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string html = page();
  expect_well_formed((folder_ / "page.html").string());
  EXPECT_NE(html.find("<title>four: 0.2814, 23.5</title>"), std::string::npos);
  EXPECT_NE(html.find("<title>dense: 1, 22.5</title>"), std::string::npos);
  // Options that are the program's own are left out, words are quoted for a shell.
  EXPECT_NE(html.find("mpirun -n 2 hack compress m.gguf --keep 0.28 --output /x/four.h5<"), std::string::npos);
  EXPECT_NE(html.find("--text &#39;/t/a b.txt&#39;<"), std::string::npos);
  const std::size_t second = html.find(">2</text>"), tenth = html.find(">10</text>");
  EXPECT_LT(second, tenth) << "layers in the order of their numbers";
  EXPECT_NE(tenth, std::string::npos);
}

TEST_F(Report, TakesItsOwnKindAlone) {
  const std::string good = write("good.json", report_of("plan", {}, json::object()));
  write_file(folder_ / "text.json", "no JSON");
  write_file(folder_ / "other.json", "{\"a\": 1}");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"text.json", "is not JSON"}, {"other.json", "no report of a run"}, {"missing.json", "cannot be read"}};
  for (const auto& [name, message] : cases) {
    const ProgramResult result = make({good, (folder_ / name).string()});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "page.html")) << name;
  }
  EXPECT_EQ(make({good}, "good.json").status, 1) << "written over what it reads";
  EXPECT_EQ(json::parse(read_file(good))["command"], "plan");
}

TEST_F(Report, TakesTheTableOfAStudyAndTheProgramsOwnReports) {
  const std::string study = write(
      "scaling.json", {{"key", {{"SCALING", "strong"}}},
                       {"rows",
                        {{{"phase", "decode"}, {"ranks", 1}, {"base_ranks", 1}, {"rate", 10.0}, {"speedup", 1.0}},
                         {{"phase", "decode"}, {"ranks", 2}, {"base_ranks", 1}, {"rate", 18.0}, {"speedup", 1.8}}}},
                       {"larger", {{{"phase", "decode"}, {"ranks", 4}, {"rate", 30.0}}}}});
  const std::string doctor = (folder_ / "doctor.json").string();
  ASSERT_EQ(run_hack(0, {"doctor", "--report", doctor}).status, 0);
  const ProgramResult result = make({study, doctor});
  ASSERT_EQ(result.status, 0) << result.err;
  expect_well_formed((folder_ / "page.html").string());
  EXPECT_NE(page().find("Speed-up against ranks"), std::string::npos);
  EXPECT_NE(page().find("decode, model"), std::string::npos);
}

TEST(Chart, LeavesOutWhatCannotBeDrawn) {
  const double none = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  EXPECT_EQ(jobs::draw_chart("t", {"x", "y", false, true}, {{"s", {{none, 1, ""}, {1, infinite, ""}, {1, 0, ""}}}}),
            "");
  EXPECT_EQ(jobs::draw_bars("t", "s", {{"a", none, std::nullopt}, {"b", 0, none}}), "");
  EXPECT_EQ(jobs::draw_grid("t", {{"r"}, {"c"}, {none}}), "");
  for (const std::string& drawn :
       {jobs::draw_chart("t", {"x", "y"}, {{"s", {{1, 5, "<"}, {1, 5, ""}}}}),  // no width to scale to
        jobs::draw_bars("t", "s", {{"a", 1, infinite}}), jobs::draw_grid("t", {{"r"}, {"c", "d"}, {7, none}})}) {
    EXPECT_NE(drawn.find("<svg"), std::string::npos);
    EXPECT_EQ(drawn.find("nan"), std::string::npos) << drawn;
    EXPECT_EQ(drawn.find("inf"), std::string::npos) << drawn;
  }
}

TEST(Html, WritesNumbersForPeople) {
  EXPECT_EQ(jobs::format_number(1234567), "1,234,567");
  EXPECT_EQ(jobs::format_number(-100), "-100");
  EXPECT_EQ(jobs::format_number(0.1234567), "0.123457");
  EXPECT_EQ(jobs::format_number(1e300), "1e+300");
}

}  // namespace
}  // namespace hack::testing
