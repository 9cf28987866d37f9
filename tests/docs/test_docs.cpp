// The pages are true: their commands run, their links lead somewhere, the files they list are there, and the command
// reference is what the program prints.
//
// Commands of a page (fences ```sh) run one after the other in one shell, in a folder that looks like a checkout that
// was built and whose model was downloaded. The model is the real one where HACK_TEST_MODEL names it, else a tiny one
// of random weights under its name.

#include <cstdlib>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "tests/docs/pages.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

namespace fs = std::filesystem;
using Kind = PageLine::Kind;

const fs::path root = HACK_SOURCE_DIR;

/// What the runner gives a page's commands, seconds: with the real model the tutorial takes some minutes
/// of CPU time.
constexpr int limit = 900;

/// A tiny Llama that takes the same contexts as the real one, in the same kind of file.
void write_model(const fs::path& file) {
  const char* real = std::getenv("HACK_TEST_MODEL");
  if (real != nullptr) {
    fs::create_symlink(fs::absolute(real), file);
    return;
  }
  TinyModel tiny;
  tiny.hidden = 64;
  tiny.intermediate = 160;
  tiny.context = 8192;
  write_gguf(tiny, file, model::GgmlType::q4_1);
}

/// Makes `folder` look like a checkout with a build and a model. Whatever commands write stays in it.
void make_checkout(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") || name.starts_with("build") || name == "downloads" || name == "runs") continue;
    fs::create_symlink(entry.path(), folder / name);
  }
  fs::create_directory(folder / "runs");
  fs::create_directory(folder / "downloads");
  fs::create_symlink(fs::path(HACK_PROGRAM).parent_path().parent_path(), folder / "build");
  write_model(folder / "downloads" / "SmolLM2-135M-Instruct.Q4_1.gguf");
}

ProgramResult run_commands(const Page& page) {
  const TemporaryDirectory checkout;
  make_checkout(checkout.path());
  const TemporaryDirectory scripts;
  write_file(scripts / "page.sh", script_of(page));
  return run_shell(fmt::format("cd '{}' && PAGE='{}' exec bash '{}'", checkout.path().string(), page.path.string(),
                               (scripts / "page.sh").string()),
                   limit);
}

/// The file or folder that a link of `page` names; nothing where it stands in the page itself.
fs::path target_of(const Page& page, const std::string& link) {
  const std::string path = link.substr(0, link.find('#'));
  return path.empty() ? page.path : (page.path.parent_path() / path).lexically_normal();
}

bool has_anchor(const Page& page, const std::string& anchor) {
  const std::vector<std::string> anchors = anchors_of(page);
  return std::find(anchors.begin(), anchors.end(), anchor) != anchors.end();
}

/// Whether `name` is a file or folder of `folder`, or all of a file's name but its ending.
bool is_there(const fs::path& folder, const std::string& name) {
  if (fs::exists(folder / name)) return true;
  const fs::path parent = (folder / name).parent_path();
  const std::string stem = fs::path(name).filename().string();
  if (!fs::is_directory(parent)) return false;
  for (const auto& entry : fs::directory_iterator(parent)) {
    if (entry.is_regular_file() && entry.path().stem() == stem) return true;
  }
  return false;
}

TEST(Docs, CommandsRun) {
  int pages = 0;
  for (const Page& page : read_pages(root)) {
    if (!page.has(Kind::command)) continue;
    ++pages;
    const ProgramResult result = run_commands(page);
    EXPECT_EQ(result.status, 0) << page.path << "\n" << result.out << result.err;
  }
  EXPECT_GT(pages, 0);
}

TEST(Docs, LinksLeadSomewhere) {
  for (const Page& page : read_pages(root)) {
    for (const std::string& link : links_of(page)) {
      const fs::path target = target_of(page, link);
      EXPECT_TRUE(fs::exists(root / target)) << page.path << ": " << link;
      const std::size_t hash = link.find('#');
      if (hash == std::string::npos || target.extension() != ".md" || !fs::exists(root / target)) continue;
      EXPECT_TRUE(has_anchor(parse_page(target, read_file(root / target)), link.substr(hash + 1)))
          << page.path << ": no heading for " << link;
    }
  }
}

TEST(Docs, ListFilesThatAreThere) {
  for (const Page& page : read_pages(root)) {
    for (const std::string& name : listed_files(page)) {
      EXPECT_TRUE(is_there(root / page.path.parent_path(), name)) << page.path << " lists " << name;
    }
  }
}

TEST(Docs, CommandReferenceIsTheProgramsOwn) {
  const ProgramResult result = run_hack(0, {"--help-markdown"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(read_file(root / "docs" / "command-reference.md") == result.out)
      << "docs/command-reference.md is not what the program prints. Make it anew:\n"
         "  build/bin/hack --help-markdown > docs/command-reference.md";
}

TEST(Docs, AFailingCommandEndsThePage) {
  const Page page = parse_page("page.md", "# Title\n\n```sh\necho before\nfalse\necho behind\n```\n");
  const ProgramResult result = run_commands(page);
  EXPECT_NE(result.status, 0);
  EXPECT_EQ(result.out, "before\n");
  EXPECT_NE(result.err.find("page.md:5: the command failed with exit status 1"), std::string::npos) << result.err;
}

TEST(Docs, PagesAreRead) {
  const Page page = parse_page("page.md",
                               "# A `title`, long\n"
                               "[a](x.md#b) `[no](link)` [`code`](y.hpp) [far](https://example.org)\n"
                               "<!-- not run: takes long -->\n"
                               "```sh\nskipped\n```\n"
                               "```sh\nrun\n```\n"
                               "```text\n[no](output)\n```\n"
                               "| file | role |\n| --- | --- |\n| `one`, `two.hpp` | `three` |\n");
  EXPECT_EQ(anchors_of(page), std::vector<std::string>{"a-title-long"});
  EXPECT_EQ(links_of(page), (std::vector<std::string>{"x.md#b", "y.hpp"}));
  EXPECT_EQ(listed_files(page), (std::vector<std::string>{"one", "two.hpp"}));
  EXPECT_EQ(script_of(page).find("skipped"), std::string::npos);
  EXPECT_NE(script_of(page).find("\nrun\n"), std::string::npos);
  EXPECT_THROW(parse_page("page.md", "<!-- not run: -->\n```sh\nx\n```\n"), Error);
  EXPECT_THROW(parse_page("page.md", "```sh\nx\n"), Error);
}

}  // namespace
}  // namespace hack::testing
