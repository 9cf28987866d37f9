// Continues a text with a model whose weights are shared out to MPI ranks; with an archive, its compressed matrices
// take the place of the model's own.
//
//   mpirun -n 2 generate_tokens MODEL TEXT [A.h5]      MODEL: a Hugging Face directory or a GGUF file
#include <cstdio>
#include <exception>
#include <optional>
#include <vector>

#include "comm/environment.hpp"
#include "model/llama/generate.hpp"
#include "svd/archive/factor_archive.hpp"

using namespace hack;

void run(int argc, char** argv) {
  if (argc != 3 && argc != 4) throw Error("usage: generate_tokens MODEL TEXT [A.h5]");
  const auto checkpoint = model::Checkpoint::open(argv[1]);  // nothing is read before it is asked for
  std::optional<svd::FactorArchive> archive;
  if (argc == 4) archive.emplace(argv[3]);

  // Every rank of `world` holds a part of each matrix: heads of attention, rows and columns of the MLP.
  const comm::Communicator world = comm::Communicator::world();
  Queue<Device::cpu> queue(1);  // one thread a rank
  const model::WeightSource weights{*checkpoint, archive ? &*archive : nullptr, DType::f32};
  model::Llama<Device::cpu> llama(weights, world, queue);

  const model::Tokenizer tokenizer = checkpoint->tokenizer();
  const std::vector<int> prompt = tokenizer.encode(argv[2], model::AddSpecial::yes);
  model::Sampler sampler({.temperature = 0});  // the likeliest token each time
  // All ranks call this together; the new ids are the same on every rank.
  const model::Generated generated =
      model::generate(llama, std::span<const int>(prompt), {.max_tokens = 8}, sampler, [](int) { return true; });
  if (!world.is_root()) return;
  std::printf("%d rank(s), %ld bytes of weights on each; ids", world.size(), llama.bytes_held());
  for (const int id : generated.ids) std::printf(" %d", id);
  std::printf("\n%s\n", tokenizer.decode(generated.ids).c_str());
}

int main(int argc, char** argv) {
  const comm::Environment mpi(argc, argv);  // starts MPI, ends it when main is left
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    comm::Environment::abort(error.what());  // ends all ranks: none may wait for one that is gone
  }
}
