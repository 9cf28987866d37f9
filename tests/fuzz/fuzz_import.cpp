// Checkpoints that `hack import` reads: config.json, quantize_config.json and the tensors of another program's
// compression of a model that is sound.

#include <nlohmann/json.hpp>

#include "kernels/queue.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "model/import/model_import.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::fuzz {
namespace {

namespace fs = std::filesystem;
using model::TensorSpec;

/// Small enough for libFuzzer's inputs of 64 KiB.
testing::TinyModel tiny() {
  testing::TinyModel tiny;
  tiny.hidden = 32;
  tiny.intermediate = 64;
  tiny.layers = 1;
  tiny.heads = 2;
  tiny.kv_heads = 1;
  tiny.head_dim = 16;
  tiny.tied = true;
  tiny.dtype = DType::bf16;
  return tiny;
}

const fs::path& base_folder() {
  static const fs::path made = [] {
    const fs::path folder = scratch_folder() / "base";
    testing::write_hf(tiny(), folder);
    return folder;
  }();
  return made;
}

/// A tensor of a checkpoint in the making.
struct Made {
  std::string name, type;
  std::vector<index_t> shape;
  std::string bytes;
};

Made plain(const std::string& name, std::vector<index_t> shape, const std::vector<float>& numbers) {
  std::string bytes(numbers.size() * 2, '\0');
  convert(numbers.data(), DType::f32, bytes.data(), DType::bf16, std::ssize(numbers));
  return {name, "BF16", std::move(shape), std::move(bytes)};
}

std::string zeros(index_t bytes) { return std::string(static_cast<std::size_t>(bytes), '\0'); }

/// U and V of rank 3 in the place of a matrix.
void add_low_rank(const TensorSpec& spec, std::vector<Made>& out) {
  const std::string module = spec.name.substr(0, spec.name.size() - 7);
  constexpr index_t k = 3;
  const auto numbers = [](index_t n) { return std::vector<float>(static_cast<std::size_t>(n), 0.25f); };
  out.push_back(plain(module + ".ALinear.weight", {spec.rows, k}, numbers(spec.rows * k)));
  out.push_back(plain(module + ".BLinear.weight", {k, spec.cols}, numbers(k * spec.cols)));
}

/// Codes of four bits in groups of 32.
void add_gptq(const TensorSpec& spec, std::vector<Made>& out) {
  const std::string module = spec.name.substr(0, spec.name.size() - 7);
  const index_t groups = spec.cols / 32;
  std::string scales;
  for (index_t n = 0; n < groups * spec.rows; ++n) scales += std::string("\x00\x2c", 2);  // 1/16
  out.push_back({module + ".qweight", "I32", {spec.cols / 8, spec.rows}, zeros(spec.cols / 2 * spec.rows)});
  out.push_back({module + ".qzeros", "I32", {groups, spec.rows / 8}, std::string(groups * spec.rows / 2, '\x77')});
  out.push_back({module + ".scales", "F16", {groups, spec.rows}, scales});
  std::string index;
  for (std::int32_t c = 0; c < spec.cols; ++c) {
    const std::int32_t group = c / 32;
    index.append(reinterpret_cast<const char*>(&group), sizeof(group));
  }
  out.push_back({module + ".g_idx", "I32", {spec.cols}, index});
}

/// The file of a checkpoint in which `add` has taken the place of the layers' matrices.
std::string checkpoint(void (*add)(const TensorSpec&, std::vector<Made>&)) {
  std::vector<Made> tensors;
  for (const TensorSpec& spec : model::llama_tensors(testing::tiny_config(tiny()))) {
    if (!spec.is_vector && spec.name.starts_with("model.layers")) {
      add(spec, tensors);
    } else {
      tensors.push_back(plain(spec.name, shape_of(spec), testing::tiny_weight(tiny(), spec.name)));
    }
  }
  const fs::path file = scratch_folder() / "seed.safetensors";
  model::SafetensorsWriter writer(file);
  for (const Made& of : tensors) {
    index_t count = 1;
    for (const index_t extent : of.shape) count *= extent;
    writer.add_tensor(of.name, of.shape, of.type, std::ssize(of.bytes) / count);
  }
  for (const Made& of : tensors) writer.write(std::as_bytes(std::span(of.bytes)));
  writer.finish();
  return testing::read_file(file);
}

std::vector<std::string> seeds() {
  const std::string config = testing::read_file(base_folder() / "config.json");
  const std::string gptq = R"({"quant_method":"gptq","bits":4,"group_size":32,"checkpoint_format":"gptq"})";
  nlohmann::json with_gptq = nlohmann::json::parse(config);
  with_gptq["quantization_config"] = nlohmann::json::parse(gptq);
  const std::string codes = checkpoint(add_gptq), factors = checkpoint(add_low_rank);
  return {joined({config, "", factors}), joined({config, gptq, codes}), joined({with_gptq.dump(), "", codes}),
          joined({config, gptq, factors})};
}

void read(std::string_view bytes) {
  static const std::unique_ptr<model::Checkpoint> base = model::Checkpoint::open(base_folder());
  static const fs::path folder = scratch_folder() / "other";
  fs::create_directories(folder);
  static const ScratchFile config("other/config.json"), settings("other/quantize_config.json"),
      tensors("other/model.safetensors");
  const std::vector<std::string_view> sections = sections_of(bytes, 3);
  config.write(sections[0]);
  if (sections[1].empty()) {
    fs::remove(settings.path());
  } else {
    settings.write(sections[1]);
  }
  tensors.write(sections[2]);
  accepts(folder, [&] {
    Queue<Device::cpu> queue(1);
    const model::ModelImport import(*base, folder);
    import.check_rest();
    import.storage();
    for (index_t i = 0; i < std::ssize(import.matrices()); ++i) import.part(i, queue);
  });
}

}  // namespace

const Target& target() {
  static const Target here{"import", seeds, read};
  return here;
}

}  // namespace hack::fuzz
