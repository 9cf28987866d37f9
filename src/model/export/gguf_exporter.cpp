#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/gguf_checkpoint.hpp"
#include "model/checkpoint/gguf_writer.hpp"
#include "model/export/leaving_rows.hpp"
#include "model/export/leaving_type.hpp"
#include "model/tokenizer/open_tokenizer.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;

constexpr const char* divisors_name = "rope_freqs.weight";
constexpr const char* file_type_key = "general.file_type";
constexpr const char* quantization_key = "general.quantization_version";

/// llama.cpp's numbers of what most of a file is in, for its listings.
std::optional<std::uint32_t> file_type(GgmlType type) {
  constexpr std::pair<GgmlType, std::uint32_t> known[] = {
      {GgmlType::f32, 0},   {GgmlType::f16, 1},   {GgmlType::q4_0, 2},    {GgmlType::q4_1, 3},    {GgmlType::q8_0, 7},
      {GgmlType::q5_0, 8},  {GgmlType::q5_1, 9},  {GgmlType::q2_k, 10},   {GgmlType::q3_k, 12},   {GgmlType::q4_k, 15},
      {GgmlType::q5_k, 17}, {GgmlType::q6_k, 18}, {GgmlType::iq4_nl, 25}, {GgmlType::iq4_xs, 30}, {GgmlType::bf16, 32}};
  for (const auto& [format, number] : known) {
    if (format == type) return number;
  }
  return {};
}

/// A tensor of the file: rows that are made, or bytes that another GGUF file or this program has already.
struct FileTensor {
  std::string name;
  std::vector<index_t> dims;  ///< innermost first
  GgmlType type;
  index_t bytes;
  std::optional<LeavingTensor> made;
  std::span<const std::byte> ready;
};

class GgufExporter final : public ModelExporter {
 public:
  GgufExporter(const ExportSource& source, const fs::path& file, DType type)
      : source_(source), type_(*ggml_type_of(codec_of(type))), divisors_(frequency_divisors(config())), writer_(file) {
    if (const auto* gguf = dynamic_cast<const GgufCheckpoint*>(&source.checkpoint)) {
      list_tensors_of(gguf->file());
      add_metadata_of(gguf->file());
    } else {
      list_tensors();
      add_config(writer_, config());
      const auto remark = add_tokenizer(writer_, read_tokenizer(tokenizer_file(source.checkpoint.path())),
                                        config().vocab_size, config().eos_ids);
      if (remark) remarks_.push_back(*remark);
      remark_on_config();
      writer_.add_integer(quantization_key, 2);
    }
    if (const std::optional<std::uint32_t> number = file_type(most_common_type())) {
      writer_.add_integer(file_type_key, *number);
    }
    for (const FileTensor& tensor : tensors_) writer_.add_tensor(tensor.name, tensor.dims, tensor.type);
    for (const auto& [obstacle, matrices] : multiplied_out_) {
      remarks_.push_back(fmt::format("{} {} multiplied out to {}: {}", matrices, matrices == 1 ? "matrix" : "matrices",
                                     to_string(type_), obstacle));
    }
  }

  index_t size() const override { return std::ssize(tensors_); }

  void write_next() override {
    const FileTensor& tensor = tensors_[next_++];
    if (tensor.made) {
      read_rows(source_, *tensor.made, [&](std::span<const std::byte> bytes) { writer_.write(bytes); });
    } else {
      writer_.write(tensor.ready);
    }
    count(to_string(tensor.type), tensor.bytes);
  }

  void finish() override { writer_.finish(); }

 private:
  const LlamaConfig& config() const { return source_.checkpoint.config(); }

  /// What llama.cpp reads of no file of these families.
  void remark_on_config() {
    if (config().sliding_window > 0) {
      remarks_.push_back(fmt::format(
          "llama.cpp gives models of this family no sliding window: texts longer than its {} tokens have other figures "
          "there",
          config().sliding_window));
    }
    const RopeScaling& rope = config().rope;
    const RopeScaling usual;
    if (rope.type != RopeType::yarn || (rope.beta_fast == usual.beta_fast && rope.beta_slow == usual.beta_slow)) return;
    remarks_.push_back(
        fmt::format("llama.cpp does not read yarn's betas from files of this family: give it --yarn-beta-fast {} "
                    "--yarn-beta-slow {}",
                    rope.beta_fast, rope.beta_slow));
  }

  bool is_compressed(const TensorSpec& spec) const {
    return source_.archive != nullptr && source_.archive->contains(spec.name);
  }

  void add_made(const TensorSpec& spec) {
    LeavingTensor tensor{spec, GgmlType::f32};
    if (spec.turns_in_gguf && architecture_of(config()).pairs_rows) tensor.paired_head = config().head_dim;
    if (is_compressed(spec)) {
      const LeavingType leaving = leaving_type(source_.archive->matrix(spec.name));
      tensor.keeps_blocks = leaving.type.has_value();
      tensor.type = leaving.type.value_or(type_);
      if (!leaving.type) ++multiplied_out_[leaving.obstacle];
    } else if (!spec.is_vector) {
      tensor.type = ggml_type_of(source_.checkpoint.codec(spec.name).value_or(Codec::f32)).value_or(GgmlType::f32);
    }
    const auto dims = spec.is_vector ? std::vector<index_t>{spec.cols} : std::vector<index_t>{spec.cols, spec.rows};
    tensors_.push_back({spec.gguf_name, dims, tensor.type, tensor.bytes(), tensor, {}});
  }

  void list_tensors() {
    for (const TensorSpec& spec : llama_tensors(config())) add_made(spec);
    if (divisors_.empty()) return;
    tensors_.push_back({divisors_name,
                        {std::ssize(divisors_)},
                        GgmlType::f32,
                        4 * std::ssize(divisors_),
                        {},
                        std::as_bytes(std::span(divisors_))});
  }

  /// All tensors in their order, those among them that are not compressed as they are.
  void list_tensors_of(const GgufFile& file) {
    std::map<std::string, TensorSpec> compressed;
    for (TensorSpec& spec : llama_tensors(config())) {
      if (is_compressed(spec)) compressed.emplace(spec.gguf_name, std::move(spec));
    }
    std::vector<std::pair<std::uint64_t, const std::string*>> order;
    for (const auto& [name, tensor] : file.tensors()) order.emplace_back(tensor.offset, &name);
    std::sort(order.begin(), order.end());
    for (const auto& [offset, name] : order) {
      const auto at = compressed.find(*name);
      if (at != compressed.end()) {
        add_made(at->second);
        continue;
      }
      const GgufTensor& tensor = *file.find_tensor(*name);
      const std::span<const std::byte> bytes = file.tensor_bytes(tensor);
      tensors_.push_back({*name, tensor.dims, tensor.type, std::ssize(bytes), {}, bytes});
    }
  }

  void add_metadata_of(const GgufFile& file) {
    for (const std::string& key : file.keys()) {
      if (key != file_type_key && key != "general.alignment") writer_.copy(key, file);
    }
    if (!file.has(quantization_key)) writer_.add_integer(quantization_key, 2);
  }

  /// The one of most bytes among matrices.
  GgmlType most_common_type() const {
    std::map<GgmlType, index_t> bytes;
    for (const FileTensor& tensor : tensors_) {
      if (tensor.dims.size() > 1) bytes[tensor.type] += tensor.bytes;
    }
    const auto most =
        std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    return most == bytes.end() ? GgmlType::f32 : most->first;
  }

  ExportSource source_;
  GgmlType type_;
  std::vector<float> divisors_;
  std::map<std::string, index_t> multiplied_out_;  // by obstacle: matrices
  GgufWriter writer_;
  std::vector<FileTensor> tensors_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<ModelExporter> export_gguf(const ExportSource& source, const fs::path& file, DType type) {
  std::error_code ignored;
  validate(!fs::equivalent(file, source.checkpoint.path(), ignored),
           "cannot write {} (it is the model itself); name another file", file.string());
  validate(file.extension() == ".gguf", "cannot write {} (a GGUF file is known by its name); end it with .gguf",
           file.string());
  return std::make_unique<GgufExporter>(source, file, type);
}

}  // namespace hack::model
