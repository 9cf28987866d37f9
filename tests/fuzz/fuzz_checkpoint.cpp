// A Hugging Face directory: config.json, generation_config.json and model.safetensors.index.json, whose shards are
// sound.

#include "model/checkpoint/hf_checkpoint.hpp"
#include "tests/fuzz/checkpoint_use.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::fuzz {
namespace {

namespace fs = std::filesystem;

const char* const files[] = {"config.json", "generation_config.json", "model.safetensors.index.json"};

testing::TinyModel small() {
  testing::TinyModel tiny;
  tiny.hidden = 12;
  tiny.intermediate = 5;
  tiny.layers = 1;
  tiny.heads = 2;
  tiny.kv_heads = 1;
  tiny.shards = 2;
  return tiny;
}

/// The model whose files are replaced.
const fs::path& model_folder() {
  static const fs::path folder = [] {
    fs::path made = scratch_folder() / "model";
    testing::write_hf(small(), made);
    return made;
  }();
  return folder;
}

std::string files_of(const testing::TinyModel& tiny, const std::string& generation) {
  const testing::TemporaryDirectory folder;
  testing::write_hf(tiny, folder / "m");
  return joined({testing::read_file(folder / "m/config.json"), generation,
                 testing::read_file(folder / "m/model.safetensors.index.json")});
}

std::vector<std::string> seeds() {
  testing::TinyModel qwen = small(), linear = small(), llama3 = small();
  qwen.qk_norm = true;
  qwen.attention_bias = qwen.mlp_bias = true;
  linear.rope.type = model::RopeType::linear;
  linear.rope.factor = 2;
  llama3.rope.type = model::RopeType::llama3;
  llama3.rope.factor = 8;
  return {files_of(small(), R"({"eos_token_id":[262,1]})"), files_of(qwen, "{}"),
          files_of(linear, R"({"eos_token_id":5})"), files_of(llama3, "null")};
}

void read(std::string_view bytes) {
  const std::vector<std::string_view> sections = sections_of(bytes, std::size(files));
  for (std::size_t i = 0; i < std::size(files); ++i) {
    testing::write_file(model_folder() / files[i], std::string(sections[i]));
  }
  accepts(model_folder(), [] { use_all(model::HfCheckpoint(model_folder())); });
}

}  // namespace

const Target& target() {
  static const Target here{"checkpoint", seeds, read};
  return here;
}

}  // namespace hack::fuzz
