// Prints what a factor archive holds, and multiplies its first matrix with a vector without rebuilding the matrix.
//
//   hack compress MODEL --output A.h5 --method plain --keep 0.8     makes an archive
//   read_archive A.h5
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>

#include "svd/archive/factor_archive.hpp"
#include "svd/factored_matrix.hpp"

constexpr auto cpu = hack::Device::cpu;

void multiply(const hack::svd::FactorArchive& archive, const std::string& name) {
  const hack::svd::TileGrid& grid = archive.matrix(name).grid;
  // A rank of a parallel program would name its own rows or columns here, and read no others.
  const hack::svd::FactoredMatrix<cpu> matrix(archive, name, {0, grid.rows()}, {0, grid.cols()}, hack::DType::f32);
  hack::Buffer<float> x(grid.cols()), y(grid.rows());
  std::fill_n(x.data(), x.size(), 1.0F);
  hack::Queue<cpu> queue(2);  // two threads
  hack::kernels::factored_sum<cpu>(queue, {x.data(), 1, x.size()}, matrix.planes(), {y.data(), 1, y.size()});
  double squares = 0;
  for (hack::index_t i = 0; i < y.size(); ++i) squares += y.data()[i] * y.data()[i];
  std::printf("%s times a vector of ones has norm %.6f; the factors take %ld bytes of memory\n", name.c_str(),
              std::sqrt(squares), matrix.bytes());
}

int main(int argc, char** argv) try {
  if (argc != 2) throw hack::Error("usage: read_archive A.h5");
  const hack::svd::FactorArchive archive(argv[1]);  // every size in the file is checked; what does not fit is an Error
  std::printf("method %s, numbers stored as %s\n", archive.info().header.method.c_str(),
              std::string(to_string(archive.info().compression.codec)).c_str());
  for (const std::string& name : archive.matrices()) {
    const hack::svd::MatrixEntry& matrix = archive.matrix(name);
    const auto by_rank = [](const auto& a, const auto& b) { return a.rank < b.rank; };
    const auto [least, most] = std::minmax_element(matrix.terms.begin(), matrix.terms.end(), by_rank);
    std::printf("%-40s %5ld x %-5ld %4ld tiles, ranks %d to %d, %ld of %ld bytes\n", name.c_str(), matrix.grid.rows(),
                matrix.grid.cols(), matrix.grid.size(), least->rank, most->rank, matrix.bytes_factors,
                matrix.bytes_dense);
  }
  if (!archive.matrices().empty()) multiply(archive, archive.matrices().front());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "read_archive: %s\n", error.what());
  return 1;
}
