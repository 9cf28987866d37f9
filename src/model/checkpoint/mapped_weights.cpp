#include "model/checkpoint/mapped_weights.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "kernels/error.hpp"
#include "model/checkpoint/rotary_order.hpp"

namespace hack::model {

namespace {

std::string to_text(const std::vector<index_t>& shape) {
  std::string out;
  for (const index_t extent : shape) out += (out.empty() ? "(" : ", ") + std::to_string(extent);
  return out + ")";
}

/// Whether all numbers are finite; all ones in the exponent mean NaN or infinity. No branch, so that it vectorizes.
bool all_finite(const float* x, index_t n) {
  constexpr std::uint32_t exponent = 0x7f800000u;
  std::uint32_t bad = 0;
  for (index_t i = 0; i < n; ++i) bad |= (std::bit_cast<std::uint32_t>(x[i]) & exponent) == exponent ? 1u : 0u;
  return bad == 0;
}

/// The same of numbers of a narrower type, aligned.
bool all_finite(const std::byte* x, DType type, index_t n) {
  constexpr index_t chunk = 256;
  std::array<float, chunk> wide;
  for (index_t i = 0; i < n; i += chunk) {
    const index_t count = std::min(chunk, n - i);
    convert(x + i * size_of(type), type, wide.data(), DType::f32, count);
    if (!all_finite(wide.data(), count)) return false;
  }
  return true;
}

index_t rows_of(const StoredWeight& w) { return w.shape.size() == 1 ? 1 : w.shape[0]; }
index_t cols_of(const StoredWeight& w) { return w.shape.back(); }

/// The part of a file that has been read since pages were last given back.
class TouchedRange {
 public:
  explicit TouchedRange(const io::MappedFile& file) : file_(file) {}
  ~TouchedRange() { release(); }
  TouchedRange(const TouchedRange&) = delete;
  TouchedRange& operator=(const TouchedRange&) = delete;

  void add(const std::byte* begin, const std::byte* end) {
    const bool first = begin_ == nullptr;
    begin_ = first ? begin : std::min(begin_, begin);
    end_ = first ? end : std::max(end_, end);
    // Large enough for the system's read-ahead, small beside the tensors.
    constexpr index_t most = 8 << 20;
    if (end_ - begin_ >= most) release();
  }

 private:
  void release() {
    if (begin_ != nullptr) file_.release({begin_, end_});
    begin_ = end_ = nullptr;
  }

  const io::MappedFile& file_;
  const std::byte* begin_ = nullptr;
  const std::byte* end_ = nullptr;
};

/// Of some blocks.
bool scales_are_finite(Codec codec, const std::byte* scales, index_t blocks) {
  const HalfScales halves = half_scales(codec);
  for (index_t b = 0; b < blocks; ++b, scales += spec_of(codec).scale_bytes) {
    if (!all_finite(scales + halves.at, DType::f16, halves.count)) return false;
  }
  return true;
}

}  // namespace

const StoredWeight& MappedWeights::find(const std::string& name) const {
  const auto at = weights_.find(name);
  validate(at != weights_.end(), "{} has no tensor '{}'", path_, name);
  return at->second;
}

const StoredWeight& MappedWeights::find_readable(const std::string& name) const {
  const auto opaque = opaque_.find(name);
  if (opaque != opaque_.end()) fail("cannot read tensor '{}' of {} ({})", name, path_, opaque->second.reason);
  return find(name);
}

void MappedWeights::add_unreadable(const std::string& name, std::string reason, StoredWeight weight, std::string type) {
  weights_.insert_or_assign(name, std::move(weight));
  opaque_.insert_or_assign(name, Opaque{std::move(type), std::move(reason)});
}

std::vector<std::string> MappedWeights::keep_implied(const LlamaConfig& config) {
  std::map<std::string, StoredWeight> kept;
  for (const TensorSpec& spec : llama_tensors(config)) {
    if (const auto at = unreadable_.find(spec.name); at != unreadable_.end()) {
      fail("cannot read tensor '{}' of {} ({})", spec.name, path_, at->second);
    }
    const auto at = weights_.find(spec.name);
    validate(at != weights_.end(), "{} is incomplete (it has no tensor '{}', which its config implies)", path_,
             spec.name);
    const StoredWeight& w = at->second;
    const std::vector<index_t> expected =
        spec.is_vector ? std::vector<index_t>{spec.cols} : std::vector<index_t>{spec.rows, spec.cols};
    validate(w.shape == expected, "tensor '{}' of {} has shape {}, its config implies {} ({})", spec.name,
             w.file->path(), to_text(w.shape), to_text(expected), spec.shape_from);
    kept.insert(*at);
  }
  std::vector<std::string> unused;
  for (const auto& [name, weight] : weights_) {
    if (kept.find(name) == kept.end()) unused.push_back(name);
  }
  weights_ = std::move(kept);
  return unused;
}

TensorInfo MappedWeights::info(const std::string& name) const {
  const StoredWeight& w = find(name);
  if (const auto opaque = opaque_.find(name); opaque != opaque_.end()) {
    return {rows_of(w), cols_of(w), opaque->second.type, 0};
  }
  return {rows_of(w), cols_of(w), std::string(to_string(w.type)), rows_of(w) * row_bytes(w.type, cols_of(w))};
}

void MappedWeights::read(const std::string& name, index_t row, index_t col, MatrixView<float> out) const {
  const StoredWeight& w = find_readable(name);
  const index_t rows = rows_of(w);
  const index_t cols = cols_of(w);
  HACK_EXPECT(row >= 0 && out.rows >= 0 && row <= rows - out.rows);
  HACK_EXPECT(col >= 0 && out.cols >= 0 && col <= cols - out.cols);
  if (out.rows == 0 || out.cols == 0) return;

  const index_t stride = row_bytes(w.type, cols);
  const std::byte* data = w.file->bytes(w.offset, static_cast<std::uint64_t>(rows * stride)).data();
  const index_t block = block_size(w.type);
  const bool is_vector = w.shape.size() == 1;
  TouchedRange touched(*w.file);
  for (index_t i = 0; i < out.rows; ++i) {
    const std::byte* from = data + (is_vector ? 0 : gguf_row(row + i, w.interleaved_head)) * stride;
    if (is_vector && w.interleaved_head > 0) {
      for (index_t j = 0; j < out.cols; ++j) {
        dequantize(w.type, from, gguf_row(col + j, w.interleaved_head), 1, &out(i, j));
      }
    } else {
      dequantize(w.type, from, col, out.cols, out.row(i));
    }
    validate(all_finite(out.row(i), out.cols), "tensor '{}' of {} holds NaN or infinity (row {}) fetch the model again",
             name, w.file->path(), row + i);
    touched.add(from + col / block * block_bytes(w.type),
                from + row_bytes(w.type, (col + out.cols + block - 1) / block * block));
  }
  w.file->check_size();
}

std::optional<Codec> MappedWeights::codec(const std::string& name) const {
  return opaque_.count(name) > 0 ? std::nullopt : codec_of(find(name).type);
}

void MappedWeights::read_encoded(const std::string& name, svd::Range rows, svd::Range cols, std::byte* codes,
                                 std::byte* scales) const {
  const StoredWeight& w = find_readable(name);
  const index_t block = block_size(w.type), stride = row_bytes(w.type, cols_of(w));
  HACK_EXPECT(0 <= rows.begin && rows.end <= rows_of(w) && 0 <= cols.begin && cols.end <= cols_of(w));
  HACK_EXPECT(codec_of(w.type) && w.shape.size() == 2 && cols.begin % block == 0 && cols.end % block == 0);
  const Codec codec = *codec_of(w.type);
  const std::byte* data = w.file->bytes(w.offset, static_cast<std::uint64_t>(rows_of(w) * stride)).data();
  const index_t first = cols.begin / block, count = cols.size() / block;
  const index_t of_codes = code_bytes(codec, cols.size()), of_scales = scale_bytes(codec, cols.size());
  TouchedRange touched(*w.file);
  for (index_t i = 0; i < rows.size(); ++i) {
    const std::byte* row = data + gguf_row(rows.begin + i, w.interleaved_head) * stride;
    std::byte* to = codes + i * of_codes;
    std::byte* to_scales = scales + i * of_scales;
    split_blocks(w.type, row, first, count, to, to_scales);
    const bool finite =
        has_scales(codec) ? scales_are_finite(codec, to_scales, count) : all_finite(to, plain_type(codec), cols.size());
    validate(finite, "tensor '{}' of {} holds NaN or infinity (row {}) fetch the model again", name, w.file->path(),
             rows.begin + i);
    touched.add(row + first * block_bytes(w.type), row + (first + count) * block_bytes(w.type));
  }
  w.file->check_size();
}

DType MappedWeights::exact_type() const {
  std::optional<DType> common;
  for (const auto& [name, w] : weights_) {
    if (w.shape.size() == 1) continue;
    if (opaque_.count(name) > 0) return DType::f32;
    const DType type = w.type == GgmlType::bf16 ? DType::bf16 : w.type == GgmlType::f16 ? DType::f16 : DType::f32;
    if (common.value_or(type) != type) return DType::f32;
    common = type;
  }
  return common.value_or(DType::f32);
}

}  // namespace hack::model
