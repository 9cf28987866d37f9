#include "tests/docs/pages.hpp"

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>
#include <sstream>

#include "kernels/error.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using Kind = PageLine::Kind;

bool is_left_out(const fs::path& folder) {
  const std::string name = folder.filename().string();
  static const std::set<std::string> names = {"downloads", "runs", "shared"};
  return name.starts_with(".") || name.starts_with("build") || names.count(name) > 0;
}

/// All matches of `pattern`'s first group in `text`.
std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    found.push_back((*match)[1].str());
  }
  return found;
}

}  // namespace

bool Page::has(Kind kind) const {
  return std::any_of(lines.begin(), lines.end(), [&](const PageLine& line) { return line.kind == kind; });
}

std::vector<Page> read_pages(const fs::path& root) {
  std::set<fs::path> paths;
  for (auto entry = fs::recursive_directory_iterator(root); entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry->is_directory() && is_left_out(entry->path())) entry.disable_recursion_pending();
    if (entry->is_regular_file() && entry->path().extension() == ".md") paths.insert(entry->path());
  }
  std::vector<Page> pages;
  for (const fs::path& path : paths) pages.push_back(parse_page(fs::relative(path, root), read_file(path)));
  return pages;
}

Page parse_page(const fs::path& path, const std::string& text) {
  static const std::regex not_run("<!-- not run:.*-->");
  static const std::regex reasoned("<!-- not run: \\S.* -->");
  Page page{path, {}};
  std::istringstream stream(text);
  bool is_open = false;
  bool is_skipped = false;
  Kind inside = Kind::output;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("```")) {
      inside = !line.starts_with("```sh") ? Kind::output : is_skipped ? Kind::skipped : Kind::command;
      is_open = !is_open;
      is_skipped = false;
      page.lines.push_back({line, Kind::fence});
      continue;
    }
    if (!is_open && std::regex_match(line, not_run)) {
      validate(std::regex_match(line, reasoned), "{}:{}: a command is left out without a reason", path.string(),
               page.lines.size() + 1);
      is_skipped = true;
    }
    page.lines.push_back({line, is_open ? inside : Kind::text});
  }
  validate(!is_open, "{}: the last fence is not closed", path.string());
  return page;
}

std::string script_of(const Page& page) {
  std::string script =
      "set -Eeuo pipefail; trap 'status=$?; echo \"$PAGE:$LINENO: the command failed with exit status $status\" >&2; "
      "exit $status' ERR\n";
  for (std::size_t i = 1; i < page.lines.size(); ++i) {
    script += (page.lines[i].kind == Kind::command ? page.lines[i].text : "") + "\n";
  }
  return script;
}

std::vector<std::string> links_of(const Page& page) {
  static const std::regex link("\\]\\(([^)\\s]+)\\)");
  static const std::regex picture("src=\"([^\"]+)\"");
  static const std::regex code("`[^`]*`");
  std::vector<std::string> targets;
  for (const PageLine& line : page.lines) {
    if (line.kind != Kind::text) continue;
    // What a code span shows is no link, but a link's own text may be one.
    const std::string text = std::regex_replace(line.text, code, "`");
    for (const std::regex& pattern : {link, picture}) {
      for (const std::string& target : matches(text, pattern)) {
        if (target.find("://") == std::string::npos && !target.starts_with("mailto:")) targets.push_back(target);
      }
    }
  }
  return targets;
}

std::vector<std::string> anchors_of(const Page& page) {
  std::vector<std::string> anchors;
  for (const PageLine& line : page.lines) {
    if (line.kind != Kind::text || !line.text.starts_with("#")) continue;
    const std::size_t begin = line.text.find_first_not_of("# ");
    if (begin == std::string::npos) continue;
    std::string anchor;
    for (const unsigned char c : line.text.substr(begin)) {
      if (c == ' ') anchor += '-';
      if (std::isalnum(c) != 0 || c == '-' || c == '_' || c >= 0x80) anchor += static_cast<char>(std::tolower(c));
    }
    anchors.push_back(anchor);
  }
  return anchors;
}

std::vector<std::string> listed_files(const Page& page) {
  static const std::regex head("\\| (file|files|header|headers|script) \\|.*");
  static const std::regex first_column("\\|([^|]*)\\|.*");
  static const std::regex code("`([^`]+)`");
  std::vector<std::string> files;
  bool is_listing = false;
  for (const PageLine& line : page.lines) {
    if (line.kind != Kind::text || !line.text.starts_with("|")) {
      is_listing = false;
      continue;
    }
    if (std::regex_match(line.text, head)) is_listing = true;
    std::smatch cell;
    if (!is_listing || !std::regex_match(line.text, cell, first_column)) continue;
    for (const std::string& name : matches(cell[1].str(), code)) files.push_back(name);
  }
  return files;
}

}  // namespace hack::testing
