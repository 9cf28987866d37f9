// Installs the build, builds examples/ against what is installed as another project would, and runs the programs.

#include <cmath>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/support/paths.hpp"
#include "tests/support/program.hpp"
#include "tests/support/stored_tile.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::testing {
namespace {

constexpr const char* prefix = HACK_BINARY_DIR "/installed";
constexpr const char* examples = HACK_BINARY_DIR "/examples";

/// Runs a command line and expects it to succeed; its standard output.
std::string output_of(const std::string& command) {
  const ProgramResult done = run_shell(command, 400);
  EXPECT_EQ(done.status, 0) << command << '\n' << done.out << done.err;
  return done.out;
}

class Examples : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    // What is installed but not built any more would hide that it is missing; files that stay keep their times.
    output_of(fmt::format("rm -rf '{0}' && '{1}' --install '{2}' --prefix '{0}'", prefix, HACK_CMAKE, HACK_BINARY_DIR));
    output_of(fmt::format("'{0}' -S '{1}/examples' -B '{2}' -G Ninja -DCMAKE_PREFIX_PATH='{3}' && '{0}' --build '{2}'",
                          HACK_CMAKE, HACK_SOURCE_DIR, examples, prefix));
  }

  TemporaryDirectory folder_;
};

TEST_F(Examples, FactorizesTilesAndMultipliesWithTheirFactors) {
  const std::string out = output_of(fmt::format("'{}/factorize_tiles'", examples));
  EXPECT_NE(out.find("20 tiles of rank 16"), std::string::npos) << out;
}

TEST_F(Examples, TheInstalledProgramMakesAnArchiveThatTheyReadAndRun) {
  write_hf({}, folder_ / "model");
  const std::string model = (folder_ / "model").string(), archive = (folder_ / "a.h5").string();
  output_of(fmt::format("'{}/bin/hack' compress '{}' --output '{}' --tile 32 --method plain --keep 0.8", prefix, model,
                        archive));
  const std::string table = output_of(fmt::format("'{}/read_archive' '{}'", examples, archive));
  EXPECT_NE(table.find("model.layers.1.mlp.down_proj.weight"), std::string::npos) << table;
  EXPECT_NE(table.find("times a vector of ones has norm"), std::string::npos) << table;

  std::string first;
  for (const int ranks : {1, 2}) {
    for (const std::string& with : {std::string(), " '" + archive + "'"}) {
      const std::string out = output_of(
          fmt::format("\"$MPIRUN\" -n {} '{}/generate_tokens' '{}' 'The lamp'{}", ranks, examples, model, with));
      EXPECT_EQ(out.find(fmt::format("{} rank(s)", ranks)), 0u) << out;
      if (!with.empty()) continue;
      // The same ids whatever the number of ranks.
      const std::string ids = out.substr(out.find("ids"));
      if (first.empty()) first = ids;
      EXPECT_EQ(ids, first);
    }
  }
}

/// Norms that a tile's values times ones have, with plain loops.
double norm_of_sums(const svd::StoredTile& tile, const svd::Tile& at) {
  const std::vector<double> values = values_of(tile, at);
  double squares = 0;
  for (index_t i = 0; i < at.height; ++i) {
    double sum = 0;
    for (index_t j = 0; j < at.width; ++j) sum += values[i * at.width + j];
    squares += sum * sum;
  }
  return std::sqrt(squares);
}

TEST_F(Examples, PythonMultipliesATile) {
  const char* python = "/usr/bin/python3";
  const bool has_h5py = run_shell(fmt::format("{} -c 'import h5py, numpy'", python)).status == 0;
  if (!has_h5py) GTEST_SKIP() << python << " has no h5py, which the example needs";
  write_hf({}, folder_ / "model");
  const std::string model = (folder_ / "model").string(), archive = (folder_ / "a.h5").string();
  for (const char* how :
       {"--keep 0.8", "--topk 0.4 --storage factors --factor-type f16", "--topk 0.9 --factor-type f32"}) {
    output_of(fmt::format("\"$HACK\" compress '{}' --output '{}' --tile 32 --method plain {}", model, archive, how));
    const svd::FactorArchive factors(archive);
    const std::string& name = factors.matrices().front();
    for (const index_t t : {index_t{0}, factors.matrix(name).grid.size() - 1}) {
      const std::string out = output_of(
          fmt::format("{} '{}/examples/multiply_tile.py' '{}' {} {}", python, HACK_SOURCE_DIR, archive, name, t));
      const double norm = std::stod(out.substr(out.find("norm ") + 5));
      const svd::Tile at = factors.matrix(name).grid.tile(t);
      const double expected = norm_of_sums(factors.read_tiles(name, svd::Range{t, t + 1}).front(), at);
      EXPECT_NEAR(norm, expected, 1e-5 * expected) << how << "\n" << out;  // f32 sums of at most 32 numbers, six digits
    }
  }
}

TEST_F(Examples, APackageOfAnotherMinorVersionIsNotTaken) {
  write_file(folder_ / "CMakeLists.txt",
             "cmake_minimum_required(VERSION 3.25)\nproject(other LANGUAGES C CXX)\nfind_package(hack 0.1 REQUIRED)\n");
  const ProgramResult refused = run_shell(fmt::format("'{}' -S '{}' -B '{}' -DCMAKE_PREFIX_PATH='{}'", HACK_CMAKE,
                                                      folder_.path().string(), (folder_ / "build").string(), prefix));
  EXPECT_NE(refused.status, 0);
  EXPECT_NE(refused.err.find("hackConfig.cmake, version: 0.2.0"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace hack::testing
