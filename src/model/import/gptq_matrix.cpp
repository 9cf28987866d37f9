#include "model/import/gptq_matrix.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr index_t word_bits = 32, gptq_tile = 128;
constexpr std::string_view word_types[] = {"I32"};

/// Integers of some bits in the words of a tensor, the first one in the lowest bits; nothing is aligned.
class PackedIntegers {
 public:
  PackedIntegers(const std::byte* words, index_t bits) : words_(words), bits_(bits) {}

  int at(index_t word, index_t place) const {
    std::uint32_t bits = 0;
    std::memcpy(&bits, words_ + 4 * word, sizeof bits);
    return static_cast<int>(bits >> (place * bits_) & ((1u << bits_) - 1));
  }

 private:
  const std::byte* words_;
  index_t bits_;
};

class GptqMatrix final : public ForeignMatrix {
 public:
  GptqMatrix(ForeignTensors& tensors, MatrixOf of, const GptqFormat& format)
      : tensors_(tensors), of_(std::move(of)), format_(format) {
    const index_t group = format.group_size < 0 ? of_.cols : format.group_size, in_word = word_bits / format.bits;
    validate(of_.cols % word_bits == 0 && of_.rows % in_word == 0 && group % block_length == 0,
             "'{}' of {} cannot be held ({} x {} numbers in groups of {}: no whole blocks of 32)", of_.module(), from(),
             of_.rows, of_.cols, group);
    groups_ = (of_.cols + group - 1) / group;
    using Shape = std::array<index_t, 2>;
    tensors.find(tensor("qweight"), Shape{of_.cols / in_word, of_.rows}, word_types);
    tensors.find(tensor("qzeros"), Shape{groups_, of_.rows / in_word}, word_types);
    tensors.find(tensor("scales"), Shape{groups_, of_.rows}, plain_types);
    find_groups(tensors, group);
  }

  svd::MatrixPart part() const override {
    const std::vector<std::int8_t> levels = read_levels();
    std::vector<float> scales(static_cast<std::size_t>(groups_ * of_.rows));  // (groups, rows)
    tensors_.read(tensor("scales"), 0, {scales.data(), groups_, of_.rows});
    const Codec codec = codec_of_levels(levels);
    check_scales(scales, codec);
    svd::MatrixPart part{.name = of_.name, .grid = {of_.rows, of_.cols, gptq_tile, gptq_tile}, .has_spectra = false};
    for (index_t t = 0; t < part.grid.size(); ++t) {
      const svd::Tile at = part.grid.tile(t);
      part.tiles.push_back({.kind = svd::Structure::dense, .rank = static_cast<std::int32_t>(at.full_rank())});
      part.append(term_of(at, codec, levels, scales), t);
    }
    return part;
  }
  Codec codec() const override { return format_.bits == 8 ? Codec::q8_0 : Codec::q4_0; }

 private:
  static constexpr index_t block_length = 32;

  std::string tensor(const char* which) const { return of_.module() + "." + which; }
  std::string from() const { return tensors_.path().string(); }

  /// The group of each block of columns.
  void find_groups(ForeignTensors& tensors, index_t group) {
    for (index_t c = 0; c < of_.cols; c += block_length) group_of_block_.push_back(c / group);
    const std::string name = tensor("g_idx");
    if (!tensors.contains(name)) return;
    tensors.find(name, std::array<index_t, 1>{of_.cols}, word_types);
    std::vector<std::int32_t> stored(static_cast<std::size_t>(of_.cols));
    std::memcpy(stored.data(), tensors_.bytes(name).data(), stored.size() * sizeof stored[0]);
    for (std::size_t c = 0; c < stored.size(); ++c) {
      const std::int32_t g = stored[c];
      validate(g >= 0 && g < groups_, "'{}' of {} puts column {} into group {} of {}", name, from(), c, g, groups_);
      validate(g == stored[c / block_length * block_length],
               "'{}' of {} cannot be held (its columns were quantised in the order of their activations, desc_act, so "
               "that neighbours do not share a scale); quantise without desc_act or with static_groups, or compress "
               "the original model with a codec of 4 bits",
               of_.module(), from());
      group_of_block_[c / block_length] = g;
    }
  }

  /// Zero points of a group: (rows).
  std::vector<int> read_zeros(index_t group) const {
    const PackedIntegers stored(tensors_.bytes(tensor("qzeros")).data(), format_.bits);
    const index_t in_word = word_bits / format_.bits;
    std::vector<int> zeros(static_cast<std::size_t>(of_.rows));
    for (index_t r = 0; r < of_.rows; ++r) {
      const int zero = stored.at((group * of_.rows + r) / in_word, r % in_word);
      validate(
          format_.zero_offset == 0 || zero < (1 << format_.bits) - 1,
          "'{}' of {} cannot be held (row {} of group {} has the zero point 0, which the format gptq stores in two "
          "ways); save it as gptq_v2",
          tensor("qzeros"), from(), r, group);
      zeros[static_cast<std::size_t>(r)] = zero + format_.zero_offset;
    }
    return zeros;
  }

  /// Code less zero point of every number.
  std::vector<std::int8_t> read_levels() const {
    const PackedIntegers codes(tensors_.bytes(tensor("qweight")).data(), format_.bits);
    const index_t in_word = word_bits / format_.bits;
    std::vector<std::int8_t> levels(static_cast<std::size_t>(of_.rows * of_.cols));  // (rows, cols)
    for (index_t b = 0; b < std::ssize(group_of_block_); ++b) {
      const std::vector<int> zeros = read_zeros(group_of_block_[static_cast<std::size_t>(b)]);
      for (index_t r = 0; r < of_.rows; ++r) {
        for (index_t c = b * block_length; c < (b + 1) * block_length; ++c) {
          const int level = codes.at(c / in_word * of_.rows + r, c % in_word) - zeros[static_cast<std::size_t>(r)];
          validate(level >= -128 && level <= 127,
                   "'{}' of {} cannot be held (number ({}, {}) is {} scales, beyond 8 bits); quantise it symmetrically",
                   of_.module(), from(), r, c, level);
          levels[static_cast<std::size_t>(r * of_.cols + c)] = static_cast<std::int8_t>(level);
        }
      }
    }
    tensors_.release(tensor("qweight"));
    return levels;
  }

  static Codec codec_of_levels(const std::vector<std::int8_t>& levels) {
    const auto [least, most] = std::minmax_element(levels.begin(), levels.end());
    for (const Codec codec : {Codec::q4_0, Codec::q5_0}) {
      const int zero = spec_of(codec).zero;
      if (*least >= -zero && *most < zero) return codec;
    }
    return Codec::q8_0;
  }

  void check_scales(const std::vector<float>& scales, Codec codec) const {
    for (const float scale : scales) {
      validate(to_float(to_f16(scale)) == scale && (scale >= 0 || spec_of(codec).has_signed_scales),
               "'{}' of {} cannot be held (it has the scale {}, which is {})", tensor("scales"), from(), scale,
               scale < 0 ? "negative" : "no number of binary16");
    }
  }

  svd::StoredTerm term_of(const svd::Tile& at, Codec codec, const std::vector<std::int8_t>& levels,
                          const std::vector<float>& scales) const {
    svd::StoredTerm term{
        svd::Structure::dense, codec, static_cast<std::int32_t>(at.full_rank()), at.height, at.width, {}};
    const svd::TermArray array = svd::TermArrays(term.structure, codec, at.height, at.width, term.rank)[0];
    term.bytes.resize(static_cast<std::size_t>(array.bytes()));
    std::byte* codes = term.bytes.data();
    std::byte* to_scales = codes + array.code_bytes();
    for (index_t r = at.row; r < at.row + at.height; ++r) {
      for (index_t c = at.col; c < at.col + at.width; c += block_length) {
        const index_t group = group_of_block_[static_cast<std::size_t>(c / block_length)];
        pack(codec, levels.data() + r * of_.cols + c, scales[static_cast<std::size_t>(group * of_.rows + r)], codes,
             to_scales);
        codes += block_length * spec_of(codec).code_bits / 8;
        to_scales += spec_of(codec).scale_bytes;
      }
    }
    return term;
  }

  static void pack(Codec codec, const std::int8_t* levels, float scale, std::byte* codes, std::byte* scales) {
    std::array<std::uint8_t, block_length> q{};
    for (index_t i = 0; i < block_length; ++i) {
      q[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(levels[i] + spec_of(codec).zero);
    }
    if (codec != Codec::q8_0) return pack_block(codec, q.data(), scale, 0, codes, scales);
    std::memcpy(codes, q.data(), q.size());  // -128 too, which no fit makes
    const f16 d = to_f16(scale);
    std::memcpy(scales, &d, sizeof d);
  }

  const ForeignTensors& tensors_;
  MatrixOf of_;
  GptqFormat format_;
  index_t groups_ = 0;
  std::vector<index_t> group_of_block_;  // (cols / 32)
};

}  // namespace

GptqFormat read_gptq_format(const JsonObject& quantization) {
  GptqFormat format;
  const std::string method = quantization.find_string("quant_method").value_or("gptq");
  validate(method == "gptq",
           "cannot import {} (its weights are quantised by {}; of quantised weights those of GPTQ can be imported); "
           "compress the original model",
           quantization.where(), method);
  format.bits = quantization.integer("bits");
  validate(format.bits == 2 || format.bits == 4 || format.bits == 8,
           "cannot import {} (it has codes of {} bits; 2, 4 and 8 can be imported); compress the original model",
           quantization.where(), format.bits);
  format.group_size = quantization.integer("group_size");
  validate(format.group_size == -1 || format.group_size > 0, "cannot import {} (group_size is {})",
           quantization.where(), format.group_size);
  const std::string packing = quantization.find_string("checkpoint_format").value_or("gptq");
  validate((packing == "gptq" || packing == "gptq_v2") && !quantization.find_bool("is_marlin_format").value_or(false) &&
               quantization.find_string("pack_dtype").value_or("int32") == "int32",
           "cannot import {} (its codes are packed as '{}'; gptq and gptq_v2 in words of int32 can be imported); save "
           "it in the format gptq",
           quantization.where(), packing);
  format.zero_offset = packing == "gptq" ? 1 : 0;
  return format;
}

std::unique_ptr<ForeignMatrix> find_gptq(ForeignTensors& tensors, const MatrixOf& of, const GptqFormat& format) {
  if (!tensors.contains(of.module() + ".qweight")) return nullptr;
  return std::make_unique<GptqMatrix>(tensors, of, format);
}

}  // namespace hack::model
