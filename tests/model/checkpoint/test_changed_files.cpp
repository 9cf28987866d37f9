// Files that digests guard, after random changes: what is read is what was written, or less, or an error that names the
// file. CI takes a seeded hundredth of the changes; HACK_CHANGES=10000 takes all.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "comm/journal.hpp"
#include "io/record_file.hpp"
#include "kernels/error.hpp"
#include "model/calibration/sensitivity_file.hpp"
#include "model/calibration/statistics_file.hpp"
#include "model/evaluate/loss_records.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "tests/support/example_archive.hpp"
#include "tests/support/mutator.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

using hack::testing::Mutator;
using hack::testing::read_file;
using hack::testing::write_file;

/// What a reader gives back, piece by piece; an empty piece is one that it does not find.
using Content = std::vector<std::string>;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

class ChangedFiles : public ::testing::Test {
 protected:
  /// Changes the file at random, again and again, and reads it. Errors name `named`.
  void change(const fs::path& path, const fs::path& named, const std::function<Content()>& read) const {
    const std::string whole = read_file(path);
    const Content original = read();
    Mutator mutator({whole}, 19);
    const char* const asked = std::getenv("HACK_CHANGES");
    const int count = asked != nullptr ? std::max(100, std::atoi(asked)) : 100;
    int refused = 0;
    for (int n = 0; n < count; ++n) {
      SCOPED_TRACE(fmt::format("change {}", n));
      const std::string changed = mutator.next();
      write_file(path, changed);
      try {
        const Content found = read();
        ASSERT_LE(found.size(), original.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          ASSERT_TRUE(found[i].empty() || found[i] == original[i]) << "piece " << i;
        }
        const bool is_all = found == original;
        ASSERT_TRUE(!is_all || changed.starts_with(whole)) << "a change that nothing noticed";
        refused += !is_all;
      } catch (const Error& error) {
        ++refused;
        ASSERT_NE(std::string(error.what()).find(named.string()), std::string::npos) << error.what();
      }
    }
    EXPECT_GT(refused, count / 2);
    write_file(path, whole);
    EXPECT_EQ(read(), original);
  }

  comm::Communicator self_ = comm::Communicator::self();
  testing::TemporaryDirectory folder_;
};

TEST_F(ChangedFiles, AnArchive) {
  const fs::path path = folder_ / "a.h5";
  {
    svd::FactorArchiveWriter writer(self_, path, testing::example_info(Codec::q4_0));
    writer.write(
        testing::example_part(self_, "up", svd::TileGrid(600, 400, 32, 32), Codec::q4_0, testing::Example::sums));
    writer.finish();
  }
  ASSERT_GT(fs::file_size(path), 100000u);
  change(path, path, [&] {
    const svd::FactorArchive archive(path);
    Content content;
    for (const svd::StoredTile& tile : archive.read_tiles("up", {0, archive.matrix("up").grid.size()})) {
      for (const svd::StoredTerm& term : tile.terms) content.push_back("term " + bytes_of(term.bytes));
    }
    for (const svd::StoredTerm& term : archive.read_whole_terms("up"))
      content.push_back("term " + bytes_of(term.bytes));
    content.push_back(bytes_of(archive.spectrum("up")));
    return content;
  });
}

TEST_F(ChangedFiles, Losses) {
  const fs::path path = folder_ / "losses";
  const nlohmann::json run = {{"model", "m"}};
  WindowPlan plan;
  plan.windows = {{0, 5, 1}, {5, 9, 1}};
  LossRecords writer(path, run);
  for (index_t window = 0; window < 2; ++window) {
    const std::vector<float> losses(plan.windows[static_cast<std::size_t>(window)].scored(), 1.5f);
    writer.append(plan, window, losses);
  }
  change(path, path, [&] {
    WindowLosses losses;
    LossRecords(path, run).read(plan, losses);
    Content content;
    for (const auto& window : losses) content.push_back(bytes_of(window));
    return content;
  });
}

TEST_F(ChangedFiles, Statistics) {
  {
    StatisticsFile file(self_, folder_.path(), "key");
    for (const char* input : {"a", "b"}) {
      auto statistics = svd::InputStatistics::from_packed(3, std::vector<float>{4, 5, 6, 7, 8, 9});
      file.write(input, statistics);
    }
    file.finish();
  }
  const fs::path path = fs::directory_iterator(folder_.path())->path();
  change(path, path, [&] {
    const StatisticsFile file(self_, folder_.path(), "key");
    if (!file.is_whole()) return Content();
    return Content{bytes_of(file.read("a", 3).packed()), bytes_of(file.read("b", 3).packed())};
  });
}

TEST_F(ChangedFiles, Sensitivities) {
  const fs::path path = folder_ / "sensitivities";
  write_sensitivities(self_, path, "key", {{"m", svd::TileGrid(3, 4, 2, 4), {4, 3, 2}, 0.25, 1.5}});
  change(path, path, [&] {
    const auto found = read_sensitivities(path, "key", {"m"});
    return found ? Content{bytes_of(found->front().sigma)} : Content();
  });
}

TEST_F(ChangedFiles, AJournalAndItsState) {
  const fs::path parts = folder_ / "a.parts";
  {
    comm::Journal journal(self_, parts, "key", false);
    const std::string state = "what the next step goes on from";
    for (const char* step : {"first step", "second step"}) {
      journal.append(comm::Journal::Pieces{std::as_bytes(std::span(step, 10))}, {std::as_bytes(std::span(state))});
    }
  }
  for (const char* name : {"rank-0.journal", "rank-0.state-1"}) {
    const std::string journal = read_file(parts / "rank-0.journal"), first = read_file(parts / "rank-0.state-0"),
                      second = read_file(parts / "rank-0.state-1");
    change(parts / name, parts, [&] {
      // Resuming removes what is damaged: the other files are put back.
      if (name != std::string("rank-0.journal")) write_file(parts / "rank-0.journal", journal);
      if (name != std::string("rank-0.state-1")) write_file(parts / "rank-0.state-1", second);
      write_file(parts / "rank-0.state-0", first);
      const comm::Journal taken(self_, parts, "key", true);
      Content content;
      for (index_t step = 0; step < taken.steps(); ++step) content.push_back(taken.record(step));
      if (taken.steps() == 2) content.push_back(taken.state());
      return content;
    });
  }
}

}  // namespace
}  // namespace hack::model
