#include "kernels/sampling.hpp"

#include "kernels/cuda/memory/resources.hpp"
#include "kernels/cuda/llama/sampling.cuh"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::TokenSearch;

/// Where the working memory of a choice begins, each part at 16 bytes.
struct Rooms {
  cuda::LargestLogit* largest;
  cuda::Search* found;
  cuda::DigitSums* sums;
  int* counts;

  Rooms(Queue<D>& queue, index_t chunks) {
    const auto at_16 = [](std::size_t bytes) { return static_cast<index_t>((bytes + 15) / 16 * 16); };
    const auto n = static_cast<std::size_t>(chunks);
    const index_t of_largest = at_16(n * sizeof(cuda::LargestLogit));
    const index_t of_found = at_16((2 * TokenSearch::digits + 1) * sizeof(cuda::Search));
    const index_t of_sums = at_16(2 * n * sizeof(cuda::DigitSums));
    const index_t of_counts = at_16((n + 1) * sizeof(int));
    auto* all =
        queue.resources().workspace<std::byte>(cuda::Workspace::sampling, of_largest + of_found + of_sums + of_counts);
    largest = reinterpret_cast<cuda::LargestLogit*>(all);
    found = reinterpret_cast<cuda::Search*>(all + of_largest);
    sums = reinterpret_cast<cuda::DigitSums*>(all + of_largest + of_found);
    counts = reinterpret_cast<int*>(all + of_largest + of_found + of_sums);
  }
};

}  // namespace

template <>
void choose_token<D>(Queue<D>& queue, const SamplingRule& rule, MatrixView<float, D> logits, std::uint8_t* seen,
                     DecodeState* state) {
  HACK_EXPECT(logits.rows == 1 && logits.cols > 0 && rule.top_k == 0 && rule.min_p == 0);
  const index_t vocabulary = logits.cols, chunks = cuda::LogitChunk::count(vocabulary);
  const Rooms rooms(queue, chunks);
  cuda::launch(queue, cuda::PenalizeLogits{logits.data, vocabulary, seen, static_cast<float>(rule.repetition_penalty),
                                           rooms.largest});
  if (rule.temperature == 0) {
    cuda::launch(queue, cuda::TakeLargest{rooms.largest, chunks, seen, state});
    return;
  }
  const TokenSearch search{logits.data, vocabulary, rooms.largest, rule.temperature,
                           rule.top_p,  state,      rooms.found,   rooms.sums};
  // Where all tokens take part, the end of the run need not be found.
  for (int n = rule.top_p < 1 ? 0 : TokenSearch::digits; n < 2 * TokenSearch::digits; ++n) {
    cuda::launch(queue, cuda::SearchDigit{search, n});
  }
  cuda::launch(queue, cuda::CountTies{search, rooms.counts});
  cuda::launch(queue, cuda::TakeToken{search, rooms.counts, seen, state});
}

}  // namespace hack::kernels
