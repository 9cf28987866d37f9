#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hack::testing {

/// One line of a page.
struct PageLine {
  enum class Kind {
    text,     ///< Markdown
    command,  ///< inside a fence ```sh, to be run
    skipped,  ///< inside a fence ```sh behind <!-- not run: REASON -->
    output,   ///< inside any other fence
    fence     ///< the fence itself
  };
  std::string text;
  Kind kind;
};

/// A page of the repository.
struct Page {
  std::filesystem::path path;  ///< below the repository
  std::vector<PageLine> lines;

  bool has(PageLine::Kind kind) const;
};

/// All Markdown pages below `root`, in the order of their paths; builds, downloads, runs and hidden folders left out.
std::vector<Page> read_pages(const std::filesystem::path& root);

/// A page's lines. An Error where a fence is not closed, or a command is left out without a reason.
Page parse_page(const std::filesystem::path& path, const std::string& text);

/// The commands of a page as a Bash script. Line numbers are the page's, so that what Bash reports is found there; the
/// first line, which is a title, makes the first failing command end the script and name its line.
std::string script_of(const Page& page);

/// Targets of the links and pictures of a page that lead into the repository, as written.
std::vector<std::string> links_of(const Page& page);

/// Anchors that GitHub gives a page's headings: "## A `b`, c" has "a-b-c".
std::vector<std::string> anchors_of(const Page& page);

/// Names in backquotes in the first column of the page's tables whose first column is headed "file" or "header", or
/// "script".
std::vector<std::string> listed_files(const Page& page);

}  // namespace hack::testing
