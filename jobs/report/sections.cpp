#include "jobs/report/sections.hpp"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/core.h>

#include "jobs/report/html.hpp"
#include "jobs/report/pictures.hpp"
#include "jobs/session/log.hpp"

namespace hack::jobs {
namespace {

using nlohmann::json;

/// Longest text of a cell; prompts and answers of any length come in reports.
constexpr std::size_t longest_text = 2000;
constexpr std::size_t most_rows = 5000;

std::string words(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

Cell cell_of(const json& value) {
  if (value.is_number()) return {format_number(value.get<double>()), value.get<double>()};
  if (value.is_boolean()) return {value.get<bool>() ? "yes" : "no", std::nullopt};
  if (value.is_null()) return {};
  if (value.is_array() && std::all_of(value.begin(), value.end(), [](const json& one) { return one.is_number(); })) {
    std::string numbers;
    for (const json& one : value) {
      if (numbers.size() > longest_text) return {numbers + ", …", std::nullopt};
      numbers += (numbers.empty() ? "" : ", ") + format_number(one.get<double>());
    }
    return {numbers, std::nullopt};
  }
  std::string text =
      value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > longest_text) {
    std::size_t end = longest_text;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // no letter is cut
    text = text.substr(0, end) + "…";
  }
  return {std::move(text), std::nullopt};
}

bool is_table(const json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const json& row) { return row.is_object(); });
}

/// Columns of a table of objects: what names a row first.
std::vector<std::string> columns_of(const json& rows) {
  constexpr std::array first = {"severity", "name",  "text",   "method",  "part",   "phase",
                                "kind",     "type",  "codec",  "storage", "keep",   "topk",
                                "rank",     "ranks", "tokens", "what",    "advice", "perplexity"};
  std::set<std::string> keys;
  for (const json& row : rows) {
    for (const auto& [key, value] : row.items()) {
      if (!is_table(value)) keys.insert(key);
    }
  }
  std::vector<std::string> columns;
  for (const char* key : first) {
    if (keys.erase(key) > 0) columns.emplace_back(key);
  }
  columns.insert(columns.end(), keys.begin(), keys.end());
  return columns;
}

Table table_of(const std::string& title, const json& rows) {
  Table table;
  table.title = title;
  const std::vector<std::string> keys = columns_of(rows);
  for (const std::string& key : keys) table.columns.push_back(words(key));
  for (const json& row : rows) {
    if (table.rows.size() == most_rows) break;
    std::vector<Cell>& cells = table.rows.emplace_back();
    for (const std::string& key : keys) cells.push_back(row.contains(key) ? cell_of(row[key]) : Cell{});
  }
  return table;
}

/// Every figure of an object, and each list of objects in it as a table of its own.
std::string tables_of(const json& results) {
  Table figures{"Figures", {"figure", "value"}, {}};
  std::string html;
  for (const auto& [key, value] : results.items()) {
    if (is_table(value)) {
      html += to_html(table_of(words(key), value));
    } else if (!(value.is_array() && value.empty())) {
      figures.rows.push_back({{words(key), std::nullopt}, cell_of(value)});
    }
  }
  return to_html(figures) + html;
}

/// The figure that a command is run for, in words.
std::string headline(const RunFile& run) {
  const auto with = [&](const char* key, const char* form) {
    const double value = number_at(run.results, key);
    return value == value ? fmt::format(fmt::runtime(form), value) : std::string();
  };
  std::string text;
  for (const auto& [key, form] :
       std::initializer_list<std::pair<const char*, const char*>>{{"keep", "{:.4f} of the dense bytes, "},
                                                                  {"perplexity", "perplexity {:.4f}, "},
                                                                  {"divergence", "KL {:.4f} nats a token, "},
                                                                  {"tokens_per_second", "{:.1f} tokens/s, "}}) {
    text += with(key, form);
  }
  if (run.results.contains("rows") && is_table(run.results["rows"])) {
    text += fmt::format("{} rows, ", run.results["rows"].size());
  }
  if (run.results.contains("usable")) text += run.results["usable"] == true ? "usable, " : "not usable, ";
  return text.substr(0, text.size() - std::min<std::size_t>(text.size(), 2));
}

std::string anchor(std::size_t number) { return fmt::format("run-{}", number + 1); }

std::string run_machine(const RunFile& run) {
  std::string text;
  const auto add = [&](const std::string& part) {
    if (!part.empty()) text += (text.empty() ? "" : ", ") + part;
  };
  add(run.version.empty() ? "" : "hack " + run.version);
  const std::string ranks = text_at(run.environment, "ranks"), nodes = text_at(run.environment, "nodes");
  const auto counted = [](const std::string& number, const char* what) {
    return fmt::format("{} {}{}", number, what, number == "1" ? "" : "s");
  };
  if (!ranks.empty()) add(counted(ranks, "rank") + " on " + counted(nodes, "node"));
  if (const std::string threads = text_at(run.environment, "threads"); !threads.empty()) {
    add(counted(threads, "thread") + " each");
  }
  for (const char* key : {"cpu", "gpu", "gpu_libraries", "mpi"}) add(text_at(run.environment, key));
  if (const std::string core = text_at(run.environment, "blas_core"); !core.empty()) add("OpenBLAS kernels " + core);
  return text;
}

}  // namespace

std::string summary(const std::vector<RunFile>& runs) {
  std::string html = "<h3>Runs</h3>\n<div class=\"scroll\"><table><thead><tr>";
  for (const char* column : {"run", "file", "seconds", "what came out"}) {
    html += fmt::format("<th scope=\"col\"><button type=\"button\">{}</button></th>", column);
  }
  html += "</tr></thead><tbody>\n";
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const double seconds = number_at(runs[r].results, "total_seconds");
    html += fmt::format("<tr><td><a href=\"#{}\">{}</a></td><td>{}</td>", anchor(r), escaped(runs[r].command),
                        escaped(runs[r].file));
    html += seconds == seconds ? fmt::format("<td class=\"number\" data-n=\"{}\">{:.1f}</td>", seconds, seconds)
                               : std::string("<td></td>");
    html += fmt::format("<td>{}</td></tr>\n", escaped(headline(runs[r])));
  }
  return html + "</tbody></table></div>\n";
}

std::string section(const RunFile& run, std::size_t number, const CLI::App& program) {
  std::string html =
      fmt::format("<section id=\"{}\">\n<h2>{}: {}</h2>\n", anchor(number), escaped(run.command), escaped(run.file));
  html += fmt::format("<pre><code>{}</code></pre>\n", escaped(command_line(run, program)));
  const std::string machine = run_machine(run);
  if (!machine.empty()) html += fmt::format("<p class=\"faint\">{}</p>\n", escaped(machine));
  const std::string pictures = pictures_of(run);
  if (!pictures.empty()) html += "<div class=\"pictures\">\n" + pictures + "</div>\n";
  return html + tables_of(run.results) + "</section>\n";
}

}  // namespace hack::jobs
