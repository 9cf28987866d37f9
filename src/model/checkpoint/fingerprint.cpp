#include "model/checkpoint/fingerprint.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <exception>
#include <span>
#include <vector>

#include "comm/collectives.hpp"
#include "io/hash.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/llama_tensors.hpp"

namespace hack::model {
namespace {

/// Neighbouring rows of a tensor, few enough that they stay in the cache between reading and digesting.
struct Piece {
  const TensorSpec* tensor;
  index_t first;
  index_t rows;
};

std::vector<Piece> pieces_of(const Checkpoint& checkpoint, const std::vector<TensorSpec>& tensors) {
  constexpr index_t of_piece = 1 << 17;
  std::vector<Piece> pieces;
  for (const TensorSpec& tensor : tensors) {
    // One that cannot be read is an Error before it is cut: no bytes of the file vouch for its size.
    checkpoint.read(tensor.name, 0, 0, MatrixView<float>(nullptr, 0, 0));
    const index_t rows = std::max<index_t>(1, of_piece / tensor.cols);
    for (index_t first = 0; first < tensor.rows; first += rows) {
      pieces.push_back({&tensor, first, std::min(rows, tensor.rows - first)});
    }
  }
  return pieces;
}

/// Digests of pieces share, share + shares, …, in this order.
std::vector<std::uint64_t> digests_of(const Checkpoint& checkpoint, const std::vector<Piece>& pieces, index_t share,
                                      index_t shares, int threads) {
  const index_t count = (std::ssize(pieces) - share + shares - 1) / shares;
  std::vector<std::uint64_t> digests(static_cast<std::size_t>(std::max<index_t>(count, 0)));
  std::exception_ptr error;  // none may leave a thread
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (index_t i = 0; i < std::ssize(digests); ++i) {
    try {
      const Piece& piece = pieces[static_cast<std::size_t>(share + i * shares)];
      digests[static_cast<std::size_t>(i)] = checkpoint.digest(piece.tensor->name, piece.first, piece.rows);
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
  return digests;
}

void add_config(io::Hash& hash, const LlamaConfig& config) {
  for (const SizeField& field : size_fields()) hash.add(config.*field.member);
  for (const FlagField& field : flag_fields()) {
    if (field.is_hashed) hash.add(index_t{config.*field.member});
  }
  for (const NumberField& field : number_fields()) hash.add(config.*field.member);
  if (config.sliding_window > 0) {
    hash.add(config.sliding_window);
    hash.add(config.first_window_layer);
  }
  if (score_factor(config) != 1) hash.add(score_factor(config));
  hash.add(static_cast<float>(config.rope.theta));
  for (const float frequency : inverse_frequencies(config)) {
    constexpr std::uint32_t dropped = 11;  // of the 23 bits behind the first
    hash.add(index_t{(std::bit_cast<std::uint32_t>(frequency) + (1u << (dropped - 1))) >> dropped});
  }
}

/// `digests`: of all pieces, in their order.
std::string finish(const Checkpoint& checkpoint, const std::vector<TensorSpec>& tensors,
                   const std::vector<std::uint64_t>& digests) {
  io::Hash hash;
  add_config(hash, checkpoint.config());
  for (const TensorSpec& tensor : tensors) {
    hash.add(tensor.name);
    hash.add(tensor.rows);
    hash.add(tensor.cols);
  }
  hash.add(std::as_bytes(std::span(digests)));
  return hash.digits();
}

}  // namespace

std::string fingerprint_of(const Checkpoint& checkpoint) {
  const std::vector<TensorSpec> tensors = llama_tensors(checkpoint.config());
  return finish(checkpoint, tensors, digests_of(checkpoint, pieces_of(checkpoint, tensors), 0, 1, 1));
}

std::string fingerprint_of(const Checkpoint& checkpoint, const comm::Communicator& comm, int threads) {
  const std::vector<TensorSpec> tensors = llama_tensors(checkpoint.config());
  const std::vector<Piece> pieces = pieces_of(checkpoint, tensors);
  const std::vector<std::uint64_t> mine = digests_of(checkpoint, pieces, comm.rank(), comm.size(), threads);
  const std::vector<std::uint64_t> by_rank = comm::all_gather<std::uint64_t>(comm, mine);
  // Dealt out like cards, collected hand by hand.
  std::vector<std::uint64_t> digests(pieces.size());
  std::size_t next = 0;
  for (int rank = 0; rank < comm.size(); ++rank) {
    for (std::size_t i = static_cast<std::size_t>(rank); i < digests.size(); i += static_cast<std::size_t>(comm.size()))
      digests[i] = by_rank[next++];
  }
  return finish(checkpoint, tensors, digests);
}

}  // namespace hack::model
