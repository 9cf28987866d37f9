#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "io/mapped_file.hpp"
#include "io/output_file.hpp"
#include "model/evaluate/base_row.hpp"

namespace hack::model {

// The file that `llama-perplexity --kl-divergence-base` writes and reads (llama.cpp, tools/perplexity):
//
//     "_logits_"                          8 bytes
//     n_ctx, n_vocab, n_chunk             int32 each
//     tokens of the text                  (n_chunk, n_ctx) int32
//     of each chunk n_ctx - 1 - n_ctx / 2 rows, one for each token behind the middle:
//       scale, minimum                    float each
//       codes                             (n_vocab) uint16, and one more where n_vocab is odd
//
// all of it as this machine, little-endian, holds it.

/// Rows of a chunk.
constexpr index_t base_rows(index_t context) { return context - 1 - context / 2; }
/// Floats of the length of a row.
constexpr index_t base_row_floats(index_t vocabulary) { return (vocabulary + 1) / 2 + 2; }

/// A file of base logits, read where it lies.
class BaseLogitsFile {
 public:
  /// An Error that names the file where it is of another kind or was not written to its end.
  explicit BaseLogitsFile(const std::filesystem::path& path);

  index_t context() const { return context_; }
  index_t vocabulary() const { return vocabulary_; }
  index_t chunks() const { return chunks_; }
  std::span<const std::int32_t> tokens() const { return tokens_; }  // (chunks, context)

  /// The distribution after token context / 2 + row of a chunk.
  BaseRow row(index_t chunk, index_t row) const;

 private:
  io::MappedFile file_;
  index_t context_ = 0;
  index_t vocabulary_ = 0;
  index_t chunks_ = 0;
  std::span<const std::int32_t> tokens_;
  std::uint64_t first_row_ = 0;  // where it lies
};

/// Writes such a file. Used by one rank.
class BaseLogitsWriter {
 public:
  /// tokens: of all chunks, (chunks, context). An Error that names the file where it cannot be written.
  BaseLogitsWriter(const std::filesystem::path& path, index_t context, index_t vocabulary, std::span<const int> tokens);

  /// Adds the rows of a chunk (base_rows, base_row_floats), the bytes as they lie in the file. Chunks come in any
  /// order; those that come early wait in memory.
  void add(index_t chunk, std::span<const float> rows);

  /// Puts the file in its place, once all chunks are there.
  void finish();

 private:
  io::OutputFile file_;
  index_t chunks_;
  index_t next_ = 0;
  std::map<index_t, std::vector<float>> waiting_;
};

}  // namespace hack::model
