#include "jobs/commands/examples.hpp"

#include <array>
#include <string>

namespace hack::jobs {
namespace {

struct Example {
  const char* command;
  const char* lines;  ///< each two spaces in
};

constexpr std::array examples = {
    Example{"compress",
            "  hack compress model.gguf --output four.h5 --codec iq4_nl --calibration articles.txt\n"
            "  mpirun -n 8 hack compress MODEL --output small.h5 --keep 0.25 --calibration articles.txt --resume"},
    Example{"sweep",
            "  hack sweep MODEL --methods plain --keep 0.6:0.9:0.1 --text wiki.txt --output sweep.csv\n"
            "  mpirun -n 8 hack sweep MODEL --keep 0.3,0.5 --calibration articles.txt --text wiki.txt --output s.csv"},
    Example{"perplexity",
            "  hack perplexity MODEL --text wiki.txt\n"
            "  mpirun -n 8 hack perplexity MODEL --archive four.h5 --text wiki.txt --divergence --report four.json"},
    Example{"evaluate",
            "  hack evaluate MODEL --archive four.h5 --tasks questions.jsonl\n"
            "  mpirun -n 8 hack evaluate MODEL --tasks questions.jsonl --records questions.records --report "
            "questions.json"},
    Example{
        "heal",
        "  hack heal MODEL --archive low.h5 --output healed.h5 --text articles.txt\n"
        "  mpirun -n 8 hack heal MODEL --archive low.h5 --output healed.h5 --text articles.txt --heal 960 --resume"},
    Example{"generate",
            "  hack generate model.gguf --archive four.h5 --prompt 'Once upon a time' --max-tokens 50\n"
            "  hack generate MODEL --prompt-file question.txt --temperature 0.7 --top-p 0.9 --seed 1\n"
            "  hack generate MODEL --draft four.h5 --prompt 'Once upon a time'"},
    Example{"import",
            "  hack import svd-llm-checkpoint --base MODEL --output low.h5\n"
            "  hack import gptq-checkpoint --base MODEL --output four.h5"},
    Example{"export",
            "  hack export model.gguf --archive four.h5 --format gguf --output four.gguf\n"
            "  hack export MODEL --archive four.h5 --format hf --output four"},
    Example{"inspect",
            "  hack inspect model.gguf\n"
            "  hack inspect four.h5"},
    Example{"tokenize",
            "  hack tokenize MODEL --text page.txt\n"
            "  hack tokenize MODEL --decode --text ids.txt"},
    Example{
        "bench",
        "  hack bench decode MODEL --archive four.h5\n"
        "  hack bench apply --shape llama-3.1-8b --matrix gate --ranks 16,32,64 --batches 1,512 --report apply.json"},
    Example{"study",
            "  mpirun -n 8 hack study strong MODEL --ranks 1,2,4,8 --output scaling\n"
            "  mpirun -n 8 hack study weak --shape llama-3.1-8b --layers 4 --output weak"},
    Example{"plan",
            "  hack plan --shape llama-3.1-70b --gpus 8 --keep 0.3\n"
            "  hack plan MODEL --gpus 4 --machine a100-80gb --context 4096"},
    Example{"report",
            "  hack report compress.json perplexity.json --output run.html\n"
            "  hack report runs/demo/*.json --output demo.html --title 'The demo'"},
    Example{"doctor",
            "  hack doctor\n"
            "  mpirun -n 8 hack doctor --report doctor.json"},
};

}  // namespace

void add_examples(CLI::App& program) {
  for (const Example& example : examples) {
    program.get_subcommand(example.command)->footer(std::string("Examples:\n") + example.lines);
  }
}

}  // namespace hack::jobs
