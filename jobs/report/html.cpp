#include "jobs/report/html.hpp"

#include <cmath>
#include <string_view>

#include <fmt/core.h>

namespace hack::jobs {
namespace {

/// Colours of series 0 to 5 can be told apart by readers who see few colours (Okabe and Ito); dark ones on light.
constexpr std::string_view style = R"css(
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --faint: #5d6670; --line: #d8dde3; --panel: #f5f7f9;
  --s0: #0072b2; --s1: #b84a00; --s2: #00795a; --s3: #a34f7f; --s4: #8a6d00; --s5: #4b4f58; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e4e8ec; --faint: #9aa4ae; --line: #343b42;
  --panel: #1d2226; --s0: #56b4e9; --s1: #ff9a4d; --s2: #3fc79a; --s3: #e79cc6; --s4: #f0e442; --s5: #b9c0c8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 1rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: 1rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
a { color: var(--s0); } p { margin: .5rem 0; } .faint { color: var(--faint); }
pre { background: var(--panel); border: 1px solid var(--line); padding: .6rem; white-space: pre-wrap;
  font: 13px/1.45 ui-monospace, monospace; }
.scroll { overflow-x: auto; max-height: 36rem; overflow-y: auto; border: 1px solid var(--line); width: fit-content;
  max-width: 100%; }
table { width: max-content; border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
td { max-width: 34rem; overflow-wrap: break-word; min-width: 3rem; }
th { position: sticky; top: 0; background: var(--panel); padding: 0; }
th button { all: unset; cursor: pointer; padding: .3rem .6rem; font-weight: 600; white-space: nowrap; }
th button:focus-visible { outline: 2px solid var(--s0); }
th[aria-sort=ascending] button::after { content: " \2191"; }
th[aria-sort=descending] button::after { content: " \2193"; }
td.number { text-align: right; overflow-wrap: normal; white-space: nowrap; }
figure { margin: 1rem 0; max-width: 620px; } figcaption { font-weight: 600; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 0 1.5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: 14px; padding: 0; margin: 0; list-style: none; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 50%; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--text); font: 14px system-ui, sans-serif; }
svg .axis { stroke: var(--faint); fill: none; } svg .mesh { stroke: var(--line); fill: none; }
svg .limit { stroke: var(--text); stroke-width: 2; } svg .dash { stroke-dasharray: 5 4; }
svg .path { fill: none; stroke-width: 2; }
)css";

/// Sorts a table by the column whose heading was clicked: numbers by data-n, others as text.
constexpr std::string_view script = R"js(
document.querySelectorAll('th button').forEach(function (button) {
  button.addEventListener('click', function () {
    var th = button.parentElement, body = th.closest('table').tBodies[0], at = th.cellIndex;
    var down = th.getAttribute('aria-sort') === 'ascending';
    th.parentElement.querySelectorAll('th').forEach(function (other) { other.removeAttribute('aria-sort'); });
    th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    var rows = Array.from(body.rows);
    function key(row) {
      var cell = row.cells[at], n = cell ? cell.getAttribute('data-n') : null;
      return n === null ? [1, cell ? cell.textContent : ''] : [0, Number(n)];
    }
    rows.sort(function (a, b) {
      var x = key(a), y = key(b), order = x[0] - y[0];
      if (order === 0) { order = x[0] === 0 ? x[1] - y[1] : x[1].localeCompare(y[1], undefined, { numeric: true }); }
      return down ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
  });
});
)js";

std::string to_html(const Cell& cell) {
  if (!cell.number) return fmt::format("<td>{}</td>", escaped(cell.text));
  return fmt::format("<td class=\"number\" data-n=\"{:.17g}\">{}</td>", *cell.number, escaped(cell.text));
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string html;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&')
      html += "&amp;";
    else if (c == '<')
      html += "&lt;";
    else if (c == '>')
      html += "&gt;";
    else if (c == '"')
      html += "&quot;";
    else if (c == '\'')
      html += "&#39;";
    else if (byte < 0x20 && c != '\n' && c != '\t')
      html += "\xEF\xBF\xBD";
    else
      html += c;
  }
  return html;
}

std::string format_number(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "not a number" : "infinite";
  if (value != std::floor(value) || std::abs(value) >= 1e15) return fmt::format("{:.6g}", value);
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return (value < 0 ? "-" : "") + digits;
}

std::string to_html(const Table& table) {
  if (table.rows.empty()) return {};
  std::string html = table.title.empty() ? "" : fmt::format("<h3>{}</h3>\n", escaped(table.title));
  html += "<div class=\"scroll\"><table><thead><tr>";
  for (const std::string& column : table.columns) {
    html += fmt::format("<th scope=\"col\"><button type=\"button\">{}</button></th>", escaped(column));
  }
  html += "</tr></thead><tbody>\n";
  for (const std::vector<Cell>& row : table.rows) {
    html += "<tr>";
    for (const Cell& cell : row) html += to_html(cell);
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'; img-src data:\" />\n"
      "<link rel=\"icon\" href=\"data:,\" />\n<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n"
      "{2}<script>{3}</script>\n</body>\n</html>\n",
      escaped(title), style, body, script);
}

}  // namespace hack::jobs
